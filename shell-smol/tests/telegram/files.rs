//! Photos and documents.

use crate::daemon::{OWNER, Options, files_dir};
use crate::support::bot_api::{BotApi, message};
use crate::support::server::{Answer, Server};
use serde_json::{Value, json};

fn with(update: i64, text: &str, more: Value) -> Value {
    let mut said = message(OWNER, text);
    said["caption"] = said["text"].take();
    said.as_object_mut().unwrap().remove("text");
    if text.is_empty() {
        said.as_object_mut().unwrap().remove("caption");
    }
    for (key, value) in more.as_object().unwrap() {
        said[key] = value.clone();
    }
    json!({ "update_id": update, "message": said })
}

fn echo() -> Server {
    Server::start(|request| {
        Answer::text(format!("got: {}", request.last("user").unwrap_or_default()))
    })
}

#[test]
fn files_arrive_in_the_session_s_folder() {
    let (dir, api, server) = (tempfile::tempdir().unwrap(), BotApi::start(), echo());
    api.file("doc", vec![b'x'; 12_345]);
    api.file("big", b"the large one".to_vec());
    // The first tries of a download may fail.
    api.fail("getFile", 2, 500, "Internal Server Error");
    let daemon = Options {
        model: Some(&server),
        ..Options::new(dir.path(), &api)
    }
    .start();
    let document = json!({ "document": {
        "file_id": "doc", "file_unique_id": "d", "file_name": "../../../etc/pass wd.txt",
        "mime_type": "text/plain", "file_size": 12_345,
    }});
    api.push(with(1, "read this", document));
    // It waits for the one before.
    api.write(2, OWNER, "and then");
    let photo = json!({ "photo": [
        { "file_id": "small", "file_unique_id": "s", "width": 10, "height": 10 },
        { "file_id": "big", "file_unique_id": "b", "width": 100, "height": 100 },
    ]});
    api.push(with(3, "", photo));
    api.wait_for_offset(4);
    let folder = files_dir(dir.path()).join(OWNER.to_string());
    let kept = folder.join("1-_.._.._etc_pass_wd.txt");
    let note = format!("[file: {}, 13 KB, text/plain]", kept.display());
    api.wait_for_said(OWNER, |text| text.contains(&note));
    let photo = folder.join("3-photo.jpg");
    api.wait_for_said(OWNER, |text| {
        text.contains(&format!(
            "[file: {}, 13 bytes, image/jpeg]",
            photo.display()
        ))
    });
    daemon.stop();
    // Until it was there, nothing of it was acknowledged.
    let fetched = api.calls("getFile")[2].at;
    let polls = api.calls("getUpdates");
    let before = polls.iter().filter(|poll| poll.at < fetched);
    let offsets: Vec<i64> = before.filter_map(|p| p.params["offset"].as_i64()).collect();
    assert!(
        !offsets.is_empty() && offsets.iter().all(|offset| *offset <= 1),
        "{offsets:?}"
    );
    assert_eq!(std::fs::read(kept).unwrap().len(), 12_345);
    assert_eq!(std::fs::read(photo).unwrap(), b"the large one");
    assert_eq!(
        std::fs::read_dir(folder).unwrap().count(),
        2,
        "no half files"
    );
    let first = server.requests()[0].last("user").unwrap();
    assert_eq!(first, format!("read this\n{note}"));
}

#[test]
fn what_is_not_taken_is_refused_with_a_sentence() {
    let (dir, api, server) = (tempfile::tempdir().unwrap(), BotApi::start(), echo());
    api.file("liar", vec![0; 20_000_001]);
    let daemon = Options {
        model: Some(&server),
        ..Options::new(dir.path(), &api)
    }
    .start();
    let document = |id: &str, size: Option<u64>| json!({ "document": { "file_id": id, "file_unique_id": "d", "file_size": size } });
    api.push(with(1, "", document("huge", Some(20_000_001))));
    api.push(with(2, "", document("liar", None)));
    api.push(with(
        3,
        "",
        json!({ "voice": { "file_id": "v", "a_field": "of a later day" } }),
    ));
    api.push(with(4, "look", json!({ "sticker": {} })));
    api.push(with(5, "", document("missing", None)));
    api.wait_for_offset(6);
    api.wait_for_said(OWNER, |text| {
        text.starts_with("The file could not be fetched")
    });
    daemon.stop();
    let said: Vec<String> = api.said(OWNER).into_iter().map(|sent| sent.text).collect();
    assert_eq!(
        said.iter().filter(|s| s.contains("at most 20 MB")).count(),
        2,
        "{said:?}"
    );
    assert!(
        said.iter()
            .any(|s| s.starts_with("Voice messages are not taken")),
        "{said:?}"
    );
    assert!(
        said.iter().any(|s| s.starts_with("Stickers are not taken")),
        "{said:?}"
    );
    assert_eq!(server.count(), 0);
    assert_eq!(crate::daemon::steps(dir.path()), 1);
}
