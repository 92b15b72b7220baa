//! A real model server on loopback: OpenAI-compatible chat completions over plain HTTP/1.1, with
//! every way of going wrong that a test can ask for.
//!
//! [`Server::start`] takes a script, a function from each [`Request`] to an [`Answer`]. Requests
//! are recorded before they are answered. A connection has a thread of its own and is kept open
//! between requests; dropping the server closes every connection and the port.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "it is a module of several test programs, and each uses a part of it"
)]

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

type Script = dyn Fn(&Request) -> Answer + Send + Sync;

/// A running server.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    script: Box<Script>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    requests: Vec<Request>,
    /// Every open connection, by its number, so that dropping the server can close it.
    open: Vec<(usize, TcpStream)>,
    connections: usize,
    stopped: bool,
}

impl Server {
    /// Listens on a free port of the loopback interface.
    pub fn start(script: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
        let address = listener.local_addr().expect("the port just bound");
        let shared = Arc::new(Shared {
            script: Box::new(script),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let accepting = {
            let shared = shared.clone();
            std::thread::spawn(move || accept(&listener, &shared))
        };
        Server {
            address,
            shared,
            accepting: Some(accepting),
        }
    }

    /// What `base_url` is set to, without a trailing slash.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Every request so far, in the order they came.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.lock().requests.clone()
    }

    /// How many requests came so far.
    pub fn count(&self) -> usize {
        self.shared.lock().requests.len()
    }

    /// How many connections were opened so far.
    pub fn connections(&self) -> usize {
        self.shared.lock().connections
    }

    /// Waits until `count` requests have come.
    ///
    /// # Panics
    /// When they have not come after a minute.
    pub fn wait_for(&self, count: usize) {
        let (_state, waited) = self
            .shared
            .changed
            .wait_timeout_while(self.shared.lock(), Duration::from_secs(60), |state| {
                state.requests.len() < count
            })
            .unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.timed_out(), "{count} requests did not come");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.stopped = true;
        for (_, stream) in state.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(state);
        // Wakes the accepting thread, which then finds that it is over.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request, as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which one of the server's requests this is, from 1.
    pub number: usize,
    /// Over which one of its connections it came, from 1.
    pub connection: usize,
    /// For example `POST`.
    pub method: String,
    /// For example `/v1/chat/completions`.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, whole.
    pub body: Vec<u8>,
}

impl Request {
    /// A header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(header, _)| header == name);
        found.next().map(|(_, value)| value.as_str())
    }

    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The messages of a chat completion.
    pub fn messages(&self) -> Vec<Value> {
        match self.json()["messages"].take() {
            Value::Array(messages) => messages,
            _ => Vec::new(),
        }
    }

    /// The text of the last message if it is of this role, for example `user` or `tool`.
    pub fn last(&self, role: &str) -> Option<String> {
        let last = self.messages().pop()?;
        (last["role"] == role).then(|| last["content"].as_str().unwrap_or_default().to_owned())
    }

    /// The client asked for a stream.
    pub fn wants_stream(&self) -> bool {
        self.json()["stream"] == true
    }

    /// What the client calls the tool that we call, say, `system.run`: providers allow letters,
    /// digits, `_` and `-` alone.
    pub fn tool_name(&self, tool: &str) -> String {
        let request = self.json();
        let offered = request["tools"].as_array().into_iter().flatten();
        offered
            .filter_map(|entry| entry["function"]["name"].as_str())
            .find(|name| letters(name) == letters(tool))
            .unwrap_or(tool)
            .to_owned()
    }
}

fn letters(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).collect()
}

/// What to send back.
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Body,
    pause: Duration,
    ending: Ending,
}

#[derive(Clone, Debug)]
enum Body {
    /// These bytes, with their length announced.
    Whole(Vec<u8>),
    /// These pieces, each in a chunk and a write of its own, without a length.
    Pieces(Vec<Vec<u8>>),
    /// A model's reply: streamed or whole, as the client asks.
    Reply(Reply),
    /// These bytes in place of an HTTP response.
    Raw(Vec<u8>),
}

#[derive(Clone, Debug, Default)]
struct Reply {
    text: String,
    calls: Vec<(String, String)>,
    whole: bool,
}

/// What comes after the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// The proper end; the connection stays open.
    Proper,
    /// The proper end, and the connection is closed.
    Close,
    /// Nothing more, ever, on an open connection.
    Hang,
    /// The connection breaks.
    Break,
}

impl Answer {
    /// The model says this.
    pub fn text(text: impl Into<String>) -> Answer {
        Answer::of(Body::Reply(Reply {
            text: text.into(),
            ..Reply::default()
        }))
    }

    /// The model wants these tools run, each with these arguments as JSON text.
    pub fn calls<'a>(calls: impl IntoIterator<Item = (&'a str, &'a str)>) -> Answer {
        let calls = calls.into_iter();
        Answer::of(Body::Reply(Reply {
            calls: calls.map(|(t, a)| (t.to_owned(), a.to_owned())).collect(),
            ..Reply::default()
        }))
    }

    /// The model wants this command run.
    pub fn run(command: &str) -> Answer {
        let arguments = json!({ "command": command }).to_string();
        Answer::calls([("system.run", arguments.as_str())])
    }

    /// An error of this status, in the words of OpenAI's error object.
    pub fn error(status: u16, message: &str) -> Answer {
        let kind = "test_error";
        let body = json!({ "error": { "message": message, "type": kind } });
        Answer::body(body.to_string()).status(status)
    }

    /// This body, whole, as JSON.
    pub fn body(body: impl Into<Vec<u8>>) -> Answer {
        Answer::of(Body::Whole(body.into())).header("Content-Type", "application/json")
    }

    /// Server-sent events with these data, each in a write of its own; `[DONE]` is not added.
    pub fn events<'a>(data: impl IntoIterator<Item = &'a str>) -> Answer {
        let pieces = data.into_iter().map(|data| event(data).into_bytes());
        Answer::of(Body::Pieces(pieces.collect())).header("Content-Type", "text/event-stream")
    }

    /// These bytes in place of an HTTP response; then the connection is closed.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Answer {
        Answer::of(Body::Raw(bytes.into())).then_close()
    }

    /// Not one byte, and the connection is closed.
    pub fn nothing() -> Answer {
        Answer::raw("")
    }

    /// Not one byte, and the connection stays open.
    pub fn silence() -> Answer {
        Answer::raw("").then_hang()
    }

    fn of(body: Body) -> Answer {
        Answer {
            status: 200,
            headers: Vec::new(),
            body,
            pause: Duration::ZERO,
            ending: Ending::Proper,
        }
    }

    /// With this status.
    pub fn status(mut self, status: u16) -> Answer {
        self.status = status;
        self
    }

    /// With this header.
    pub fn header(mut self, name: &str, value: &str) -> Answer {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The model's reply in one piece even if the client asks for a stream.
    pub fn whole(mut self) -> Answer {
        if let Body::Reply(reply) = &mut self.body {
            reply.whole = true;
        }
        self
    }

    /// The model says this beside the calls that it makes.
    pub fn saying(mut self, text: &str) -> Answer {
        if let Body::Reply(reply) = &mut self.body {
            text.clone_into(&mut reply.text);
        }
        self
    }

    /// Status and headers are sent at once, the body only after this pause.
    pub fn pausing(mut self, pause: Duration) -> Answer {
        self.pause = pause;
        self
    }

    /// After what is given, the stream stays open and silent.
    pub fn then_hang(mut self) -> Answer {
        self.ending = Ending::Hang;
        self
    }

    /// After what is given, the connection breaks before the proper end.
    pub fn then_break(mut self) -> Answer {
        self.ending = Ending::Break;
        self
    }

    /// After the proper end the connection is closed, without an announcement.
    pub fn then_close(mut self) -> Answer {
        self.ending = Ending::Close;
        self
    }
}

/// The data of a streamed chunk that says `text`.
pub fn text_chunk(text: &str) -> String {
    chunk(json!({ "content": text }), Value::Null)
}

/// The data of a streamed chunk that ends the reply.
pub fn stop_chunk() -> String {
    chunk(json!({}), json!("stop"))
}

fn event(data: &str) -> String {
    format!("data: {data}\n\n")
}

fn chunk(delta: Value, finish: Value) -> String {
    let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish });
    json!({ "id": "test", "object": "chat.completion.chunk", "choices": [choice] }).to_string()
}

impl Reply {
    fn calls(&self, request: &Request) -> Vec<Value> {
        let name = |(index, (tool, arguments)): (usize, &(String, String))| {
            let id = format!("call_{}_{index}", request.number);
            let function = json!({ "name": request.tool_name(tool), "arguments": arguments });
            json!({ "index": index, "id": id, "type": "function", "function": function })
        };
        self.calls.iter().enumerate().map(name).collect()
    }

    fn finish(&self) -> &'static str {
        if self.calls.is_empty() {
            "stop"
        } else {
            "tool_calls"
        }
    }

    fn as_whole(&self, request: &Request) -> Vec<u8> {
        let message = json!({
            "role": "assistant", "content": self.text, "tool_calls": self.calls(request),
        });
        let choice = json!({ "index": 0, "message": message, "finish_reason": self.finish() });
        let usage = json!({ "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15 });
        let whole = json!({ "object": "chat.completion", "choices": [choice], "usage": usage });
        whole.to_string().into_bytes()
    }

    /// Words one by one; the arguments of each call in two halves, the calls interleaved.
    fn as_events(&self, request: &Request) -> Vec<Vec<u8>> {
        let mut data = vec![chunk(json!({ "role": "assistant" }), Value::Null)];
        data.extend(self.text.split_inclusive(' ').map(text_chunk));
        let mut rests = Vec::new();
        for mut call in self.calls(request) {
            let arguments = call["function"]["arguments"].as_str().unwrap_or_default();
            let (first, rest) = arguments.split_at(arguments.floor_char_boundary(3));
            let (first, rest) = (first.to_owned(), rest.to_owned());
            rests.push(json!({ "index": call["index"], "function": { "arguments": rest } }));
            call["function"]["arguments"] = Value::String(first);
            data.push(chunk(json!({ "tool_calls": [call] }), Value::Null));
        }
        let later = rests.into_iter();
        data.extend(later.map(|rest| chunk(json!({ "tool_calls": [rest] }), Value::Null)));
        data.push(chunk(json!({}), json!(self.finish())));
        data.push("[DONE]".to_owned());
        data.iter().map(|data| event(data).into_bytes()).collect()
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else { return };
        let Ok(handle) = stream.try_clone() else {
            return;
        };
        let mut state = shared.lock();
        if state.stopped {
            return;
        }
        state.connections += 1;
        let number = state.connections;
        state.open.push((number, handle));
        drop(state);
        let shared = shared.clone();
        std::thread::spawn(move || {
            // Not an error of the server's: the client went away, or the test is over.
            let _ = serve(&stream, number, &shared);
            let _ = stream.shutdown(Shutdown::Both);
            shared.lock().open.retain(|(open, _)| *open != number);
        });
    }
}

fn serve(stream: &TcpStream, connection: usize, shared: &Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(mut request) = read_request(&mut reader, connection)? {
        let mut state = shared.lock();
        request.number = state.requests.len() + 1;
        state.requests.push(request.clone());
        drop(state);
        shared.changed.notify_all();
        let answer = (shared.script)(&request);
        send(stream, &answer, &request)?;
        match answer.ending {
            Ending::Proper => {}
            Ending::Close | Ending::Break => return Ok(()),
            Ending::Hang => {
                // Until the client goes away or the server is dropped.
                std::io::copy(&mut reader, &mut std::io::sink())?;
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The next request; none when the client closed the connection.
fn read_request(reader: &mut impl BufRead, connection: usize) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next(), words.next());
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut request = Request {
        number: 0,
        connection,
        method: method.unwrap_or_default(),
        path: path.unwrap_or_default(),
        headers,
        body: Vec::new(),
    };
    let length = request
        .header("content-length")
        .and_then(|n| n.parse().ok());
    request.body.resize(length.unwrap_or(0), 0);
    reader.read_exact(&mut request.body)?;
    Ok(Some(request))
}

fn send(mut stream: &TcpStream, answer: &Answer, request: &Request) -> std::io::Result<()> {
    let mut headers = answer.headers.clone();
    let mut content_type = |value: &str| headers.push(("Content-Type".into(), value.into()));
    let body = match &answer.body {
        Body::Raw(bytes) => return stream.write_all(bytes),
        Body::Reply(reply) if reply.whole || !request.wants_stream() => {
            content_type("application/json");
            Body::Whole(reply.as_whole(request))
        }
        Body::Reply(reply) => {
            content_type("text/event-stream");
            Body::Pieces(reply.as_events(request))
        }
        given => given.clone(),
    };
    let mut head = format!("HTTP/1.1 {} Scripted\r\n", answer.status);
    for (name, value) in &headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    match body {
        Body::Whole(bytes) => {
            // An answer that is not to end properly announces one byte more than it sends.
            let missing = usize::from(matches!(answer.ending, Ending::Hang | Ending::Break));
            head.push_str(&format!(
                "Content-Length: {}\r\n\r\n",
                bytes.len() + missing
            ));
            if answer.pause.is_zero() {
                // In one write: the benches count on a fast answer.
                return stream.write_all(&[head.as_bytes(), &bytes].concat());
            }
            stream.write_all(head.as_bytes())?;
            std::thread::sleep(answer.pause);
            stream.write_all(&bytes)
        }
        Body::Pieces(pieces) => {
            head.push_str("Transfer-Encoding: chunked\r\n\r\n");
            stream.write_all(head.as_bytes())?;
            std::thread::sleep(answer.pause);
            for piece in pieces {
                let size = format!("{:x}\r\n", piece.len());
                stream.write_all(&[size.as_bytes(), &piece, b"\r\n"].concat())?;
            }
            match answer.ending {
                Ending::Proper | Ending::Close => stream.write_all(b"0\r\n\r\n"),
                Ending::Hang | Ending::Break => Ok(()),
            }
        }
        Body::Raw(_) | Body::Reply(_) => unreachable!("handled above"),
    }
}
