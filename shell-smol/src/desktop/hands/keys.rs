//! The names that keys have in calls, and chords of them.
//!
//! A key that writes something is named by what it writes (`t`, `7`, `?`), all others by a word.
//! Case does not matter: `ctrl+T` is `ctrl+t`, and who means Shift says so.

use enigo::Key;

/// The most keys of one chord.
const CHORD_KEYS: usize = 5;

/// The keys that have a word for a name; of one key's names, the first is the one we use.
const NAMED: &[(&str, Key)] = &[
    ("ctrl", Key::Control),
    ("control", Key::Control),
    ("shift", Key::Shift),
    ("alt", Key::Alt),
    ("option", Key::Alt),
    ("super", Key::Meta),
    ("meta", Key::Meta),
    ("cmd", Key::Meta),
    ("win", Key::Meta),
    ("enter", Key::Return),
    ("return", Key::Return),
    ("tab", Key::Tab),
    ("escape", Key::Escape),
    ("esc", Key::Escape),
    ("space", Key::Space),
    ("plus", Key::Unicode('+')),
    ("backspace", Key::Backspace),
    ("delete", Key::Delete),
    ("del", Key::Delete),
    #[cfg(not(target_os = "macos"))]
    ("insert", Key::Insert),
    ("home", Key::Home),
    ("end", Key::End),
    ("pageup", Key::PageUp),
    ("pagedown", Key::PageDown),
    ("left", Key::LeftArrow),
    ("right", Key::RightArrow),
    ("up", Key::UpArrow),
    ("down", Key::DownArrow),
    ("capslock", Key::CapsLock),
    #[cfg(not(target_os = "macos"))]
    ("menu", Key::LMenu),
    #[cfg(not(target_os = "macos"))]
    ("pause", Key::Pause),
    #[cfg(not(target_os = "macos"))]
    ("print", Key::PrintScr),
    ("volumeup", Key::VolumeUp),
    ("volumedown", Key::VolumeDown),
    ("mute", Key::VolumeMute),
    ("playpause", Key::MediaPlayPause),
    ("nexttrack", Key::MediaNextTrack),
    ("previoustrack", Key::MediaPrevTrack),
    ("f1", Key::F1),
    ("f2", Key::F2),
    ("f3", Key::F3),
    ("f4", Key::F4),
    ("f5", Key::F5),
    ("f6", Key::F6),
    ("f7", Key::F7),
    ("f8", Key::F8),
    ("f9", Key::F9),
    ("f10", Key::F10),
    ("f11", Key::F11),
    ("f12", Key::F12),
];

/// What is held while something else is done.
const MODIFIERS: [Key; 4] = [Key::Control, Key::Shift, Key::Alt, Key::Meta];

/// Reads `ctrl+shift+t`: the keys in the order in which they go down.
///
/// # Errors
/// A name that is not known, with those that are; no key; too many, or one twice.
pub(super) fn chord(text: &str) -> Result<Vec<Key>, String> {
    let mut names: Vec<&str> = text.split('+').map(str::trim).collect();
    // `ctrl++` and `+` alone: the last key is the plus.
    if names.len() > 1 && names.ends_with(&["", ""]) {
        names.truncate(names.len() - 2);
        names.push("plus");
    }
    let mut keys = Vec::new();
    for name in names {
        let key = named(name)?;
        if keys.contains(&key) {
            return Err(format!("`{text}` has `{name}` twice"));
        }
        keys.push(key);
    }
    match keys.len() {
        ..=CHORD_KEYS => Ok(keys),
        _ => Err(format!("`{text}` are more than {CHORD_KEYS} keys at once")),
    }
}

/// Reads the names of modifiers.
///
/// # Errors
/// A name that is not a modifier's.
pub(super) fn modifiers(names: &[String]) -> Result<Vec<Key>, String> {
    let mut keys = Vec::new();
    for name in names {
        let key = named(name).ok().filter(|key| MODIFIERS.contains(key));
        let key = key.ok_or_else(|| {
            format!("`{name}` is not a modifier: there are ctrl, shift, alt and super")
        })?;
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    Ok(keys)
}

fn named(name: &str) -> Result<Key, String> {
    let lower = name.to_lowercase();
    let word = NAMED.iter().find(|(known, _)| *known == lower);
    if let Some((_, key)) = word {
        return Ok(*key);
    }
    let mut chars = lower.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) if !c.is_control() && !c.is_whitespace() => Ok(Key::Unicode(c)),
        _ => Err(format!(
            "there is no key `{name}`: a key is one character (`t`, `7`, `?`) or one of {}",
            words()
        )),
    }
}

fn words() -> String {
    let names: Vec<&str> = NAMED.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chords_are_read() {
        let table: [(&str, &[Key]); 7] = [
            (
                "ctrl+shift+t",
                &[Key::Control, Key::Shift, Key::Unicode('t')],
            ),
            ("Ctrl + T", &[Key::Control, Key::Unicode('t')]),
            ("ctrl++", &[Key::Control, Key::Unicode('+')]),
            ("+", &[Key::Unicode('+')]),
            ("ESC", &[Key::Escape]),
            ("ä", &[Key::Unicode('ä')]),
            ("super", &[Key::Meta]),
        ];
        for (text, keys) in table {
            assert_eq!(chord(text).as_deref(), Ok(keys), "{text}");
        }
    }

    #[test]
    fn wrong_chords_are_named() {
        let table = [
            (
                "ctrl+hyper",
                "there is no key `hyper`: a key is one character",
            ),
            ("", "there is no key ``"),
            ("ctrl+", "there is no key ``"),
            ("ctrl+control", "`ctrl+control` has `control` twice"),
            ("a+b+c+d+e+f", "`a+b+c+d+e+f` are more than 5 keys"),
            ("\u{7}", "there is no key `\u{7}`"),
        ];
        for (text, expected) in table {
            let said = chord(text).expect_err(text);
            assert!(said.starts_with(expected), "{text}: {said}");
        }
        let said = chord("hyper").expect_err("hyper");
        assert!(said.contains("ctrl, ") && said.ends_with("f12"), "{said}");
    }

    #[test]
    fn only_modifiers_are_held() {
        let names = |names: &[&str]| -> Vec<String> { names.iter().map(|n| (*n).into()).collect() };
        let both = modifiers(&names(&["ctrl", "Shift", "control"]));
        assert_eq!(both, Ok(vec![Key::Control, Key::Shift]));
        assert!(modifiers(&names(&["a"])).is_err());
        assert!(modifiers(&names(&["f1"])).is_err());
    }
}
