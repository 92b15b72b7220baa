//! Finding the worker program that containers get, and telling whether any image can run it.

use super::PROGRAM;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Where the headers of a program are, at the most.
const HEADER_BYTES: u64 = 64 * 1024;
/// The header by which a program names its loader, in ELF's numbers.
const INTERPRETER: u32 = 3;

/// Where the worker program is: as configured, else beside our own.
pub fn find(configured: Option<&Path>) -> PathBuf {
    let beside = || std::env::current_exe().map(|own| own.with_file_name(PROGRAM));
    match configured {
        Some(path) => path.to_owned(),
        None => beside().unwrap_or_else(|_| PROGRAM.into()),
    }
}

/// Says whether a program is one for any Linux image: needs no loader and no libraries.
///
/// # Errors
/// Why it is not, in words for a person.
pub fn check(program: &Path) -> Result<(), String> {
    let wrong = |why: &str| {
        Err(format!(
            "the worker program {} {why}: build it as the README says, or set `worker` under \
             [sandbox] to where it is",
            program.display()
        ))
    };
    let mut header = Vec::new();
    let read =
        File::open(program).and_then(|file| file.take(HEADER_BYTES).read_to_end(&mut header));
    match (read, needs_loader(&header)) {
        (Err(error), _) => wrong(&format!("cannot be read ({error})")),
        (Ok(_), None) => wrong("is no program for Linux of 64 bits"),
        (Ok(_), Some(true)) => wrong("is not linked statically, so that few images could run it"),
        (Ok(_), Some(false)) => Ok(()),
    }
}

/// Whether an ELF program names a loader; none when it is no such program.
fn needs_loader(elf: &[u8]) -> Option<bool> {
    let number = |at: usize, bytes: usize| {
        let bytes = elf.get(at..at.checked_add(bytes)?)?.iter().rev();
        Some(bytes.fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    // 64 bits, least significant byte first.
    if elf.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let (first, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for index in 0..count {
        let at = usize::try_from(first.checked_add(index * size)?).ok()?;
        if number(at, 4)? == u64::from(INTERPRETER) {
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_static_program_is_told_apart() {
        // This very program is linked to libraries.
        let own = std::env::current_exe().unwrap();
        assert!(check(&own).unwrap_err().contains("not linked statically"));
        assert!(
            check(Path::new("/"))
                .unwrap_err()
                .contains("cannot be read")
        );
        let text = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        assert!(check(text.as_ref()).unwrap_err().contains("no program"));
        let mut none = b"\x7fELF\x02\x01".to_vec();
        none.resize(64, 0);
        assert_eq!(needs_loader(&none), Some(false));
        none[56] = 9;
        none[54] = 0xff;
        assert_eq!(needs_loader(&none), None, "it ends before its headers");
    }

    #[test]
    fn it_is_beside_us_unless_it_is_named() {
        assert_eq!(find(Some(Path::new("/w"))), PathBuf::from("/w"));
        assert!(find(None).ends_with(PROGRAM));
    }
}
