//! The pictures of a prompt, read from their files as the `data:` URLs that models take.
//!
//! A picture that cannot be read, is none, or is too large is left out: the model has its path in
//! the result all the same. Nothing of a picture is kept.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use openpista_core::message::Prompt;
use std::fs::File;
use std::io::Read;

/// The largest file that is sent, in bytes.
const BYTES: u64 = 4 * 1_048_576;
/// How the files begin that models take.
const KINDS: [(&[u8], &str); 2] = [
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
];

/// What the model is shown: each file's path and its URL.
pub(super) async fn load(prompt: &Prompt) -> Vec<(String, String)> {
    let paths: Vec<String> = prompt
        .pictures()
        .map(|picture| picture.for_models().to_owned())
        .collect();
    if paths.is_empty() {
        return Vec::new();
    }
    let read = move || {
        let each = paths.into_iter().filter_map(|path| match url(&path) {
            Ok(url) => Some((path, url)),
            Err(why) => {
                tracing::info!("the model is not shown {path}: {why}");
                None
            }
        });
        each.collect()
    };
    blocking::unblock(read).await
}

fn url(path: &str) -> Result<String, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    let read = file.take(BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| error.to_string())?;
    if bytes.len() as u64 > BYTES {
        return Err(format!("it has more than {BYTES} bytes"));
    }
    let kind = KINDS.iter().find(|(magic, _)| bytes.starts_with(magic));
    let Some((_, kind)) = kind else {
        return Err("it is neither a PNG nor a JPEG".to_owned());
    };
    Ok(format!(
        "data:{kind};base64,{}",
        BASE64_STANDARD.encode(bytes)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::block_on;
    use openpista_core::message::{Entry, Message, Picture};
    use std::sync::Arc;

    fn prompt(paths: &[String], shown: usize) -> Prompt {
        let result = |path: &String| {
            Entry::new(Message::Tool {
                call_id: "c".to_owned(),
                content: String::new(),
                pictures: vec![Picture {
                    path: path.clone(),
                    width: 1,
                    height: 1,
                    small: None,
                }],
            })
        };
        Prompt {
            model: Arc::from("m"),
            system: Arc::from(""),
            tools: Arc::from([]),
            messages: paths.iter().map(result).collect(),
            shown,
        }
    }

    #[test]
    fn the_latest_pictures_are_read_and_what_is_none_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let paths = [
            file("old.png", b"\x89PNG\r\n\x1a\nold"),
            file("text.png", b"no picture"),
            file("large.png", &{
                let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
                bytes.resize(BYTES as usize + 1, 0);
                bytes
            }),
            file("small.jpg", b"\xff\xd8\xff\xe0"),
            dir.path().join("gone").to_str().unwrap().to_owned(),
        ];
        let loaded = block_on(load(&prompt(&paths, 4)));
        let expected = "data:image/jpeg;base64,/9j/4A==";
        assert_eq!(loaded, [(paths[3].clone(), expected.to_owned())]);
        let loaded = block_on(load(&prompt(&paths, 5)));
        assert_eq!(loaded.len(), 2, "the oldest is shown too: {loaded:?}");
        assert_eq!(block_on(load(&prompt(&paths, 0))), []);
    }
}
