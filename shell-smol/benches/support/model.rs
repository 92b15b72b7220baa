//! A model server that costs next to nothing: it answers at once, and keeps nothing of what it is
//! asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::Samples;

/// A reply of some 180 characters, streamed, as the bytes of its chunks.
const REPLY: &str = "All of it is done, and here is what I found. ";

/// A running server. Its threads end with the process.
pub(crate) struct Model {
    address: SocketAddr,
    /// The body of the last request.
    last: Arc<Mutex<Vec<u8>>>,
}

impl Model {
    pub(crate) fn start() -> Model {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
        let address = listener.local_addr().expect("the port just bound");
        let last = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&last);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                // The client going away is no error.
                std::thread::spawn(move || drop(serve(&stream, &kept)));
            }
        });
        Model { address, last }
    }

    pub(crate) fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// How large the last request was, in bytes.
    pub(crate) fn last_bytes(&self) -> usize {
        self.last.lock().expect("no panic").len()
    }

    /// How long a client that does nothing else waits for the answer to the last request.
    pub(crate) fn bare(&self) -> Duration {
        let body = self.last.lock().expect("no panic").clone();
        let mut stream = TcpStream::connect(self.address).expect("the server");
        stream.set_nodelay(true).expect("a socket");
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        let request = [head.as_bytes(), &body].concat();
        let asking = Samples::of(200, || {
            stream.write_all(&request).expect("the server");
            let (mut answer, mut buffer) = (Vec::new(), [0; 16 * 1024]);
            while !answer.ends_with(b"\r\n0\r\n\r\n") {
                let read = stream.read(&mut buffer).expect("the server");
                answer.extend_from_slice(&buffer[..read]);
            }
        });
        asking.median()
    }
}

fn serve(stream: &TcpStream, last: &Mutex<Vec<u8>>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    let (mut line, mut body) = (String::new(), Vec::new());
    let mut writer = stream;
    loop {
        let mut length = 0;
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(told) = line.strip_prefix("content-length:") {
                length = told.trim().parse().unwrap_or(0);
            }
            if line.is_empty() {
                break;
            }
        }
        body.resize(length, 0);
        reader.read_exact(&mut body)?;
        writer.write_all(&answer(&body))?;
        body.clone_into(&mut last.lock().expect("no panic"));
    }
}

/// Runs what a `!` is followed by, and else has something to say.
fn answer(body: &[u8]) -> Vec<u8> {
    let asked: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let message = asked["messages"].as_array().and_then(|all| all.last());
    let said = message.filter(|message| message["role"] == "user");
    let command = said.and_then(|message| message["content"].as_str()?.strip_prefix("! "));
    let (delta, why) = match command {
        Some(command) => {
            let name = asked["tools"].as_array().into_iter().flatten();
            let mut name = name.filter_map(|tool| tool["function"]["name"].as_str());
            let name = name.find(|name| name.contains("run")).unwrap_or_default();
            let arguments = serde_json::json!({ "command": command }).to_string();
            let function = serde_json::json!({ "name": name, "arguments": arguments });
            let call = serde_json::json!({
                "index": 0, "id": "call_1", "type": "function", "function": function
            });
            (serde_json::json!({ "tool_calls": [call] }), "tool_calls")
        }
        None => (serde_json::json!({ "content": REPLY.repeat(4) }), "stop"),
    };
    let chunk = |delta: serde_json::Value, why: Option<&str>| {
        let choice = serde_json::json!({ "index": 0, "delta": delta, "finish_reason": why });
        format!("data: {}\n\n", serde_json::json!({ "choices": [choice] }))
    };
    let events = [
        chunk(delta, None),
        chunk(serde_json::json!({}), Some(why)),
        "data: [DONE]\n\n".to_owned(),
    ]
    .concat();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n\
         {:x}\r\n{events}\r\n0\r\n\r\n",
        events.len()
    )
    .into_bytes()
}
