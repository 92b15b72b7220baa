//! `SKILL.md`: line ends of Windows change nothing, errors name a line of the file, what is kept is
//! in proportion, and what was read can be written so that it reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openpista_core::wire::skill::{MAX_BYTES, SkillFile};

fn read(text: &str) -> SkillFile {
    let read = SkillFile::parse(text.as_bytes(), "a-b");
    read.unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Writes everything in double quotes, which can say everything.
fn write(file: &SkillFile) -> String {
    let escape = |c: char| format!("\\U{:08x}", u32::from(c));
    let description: String = file.description.chars().map(escape).collect();
    let mut text = format!("---\nname: a-b\ndescription: \"{description}\"\n");
    if let Some(mode) = file.mode {
        text.push_str(&format!("mode: \"{}\"\n", mode.name()));
    }
    if let Some(image) = &file.image {
        text.push_str(&format!("image: '{image}'\n"));
    }
    text + "---\n" + &file.body
}

fuzz_target!(|bytes: &[u8]| {
    match SkillFile::parse(bytes, "a-b") {
        Ok(file) => {
            assert_eq!(file.name, "a-b");
            assert_eq!(file.description.trim(), file.description);
            assert!(file.description.len() + file.body.len() <= bytes.len() * 3 / 2);
            assert_eq!(read(&write(&file)), file);
        }
        Err(error) => {
            let lines = 1 + bytes.iter().filter(|byte| **byte == b'\n').count();
            assert!((1..=lines).contains(&error.line), "{error}");
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && !text.contains('\r')
    {
        let windows = text.replace('\n', "\r\n");
        if windows.len() <= MAX_BYTES {
            let same = SkillFile::parse(windows.as_bytes(), "a-b");
            assert_eq!(same, SkillFile::parse(bytes, "a-b"));
        }
    }
});
