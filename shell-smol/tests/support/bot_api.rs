//! A small server that speaks Telegram's bot API over loopback, with every way of going wrong that
//! a test can ask for.
//!
//! It keeps what bots say in a list of calls, and the messages that people would see. It refuses
//! what the real one refuses: HTML that is not well-formed, texts that are empty or too long, and
//! edits that change nothing.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "it is a module of several test programs, and each uses a part of it"
)]

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The bot's token.
pub const TOKEN: &str = "7301:AAF-canary_token-0123456789abcdefgh";
/// The bot's id.
pub const BOT: u64 = 7301;
/// The bot's name.
pub const NAME: &str = "crab_bot";
/// How long something may take that must come.
const LONG: Duration = Duration::from_secs(60);

/// A running server.
pub struct BotApi {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    updates: Vec<Value>,
    calls: Vec<Call>,
    /// The messages that the bot has sent, by their number.
    sent: BTreeMap<i64, Sent>,
    /// The messages as they were sent and as they became, in that order.
    seen: Vec<Sent>,
    files: BTreeMap<String, Vec<u8>>,
    faults: Vec<Fault>,
    /// The groups that are supergroups now, each with its new number.
    moved: BTreeMap<i64, i64>,
    open: Vec<TcpStream>,
    acknowledged: i64,
    ignore_offset: bool,
    forgets: bool,
    away: bool,
    stopped: bool,
}

/// One call of a method.
#[derive(Clone, Debug)]
pub struct Call {
    /// For example `sendMessage`.
    pub method: String,
    /// What was asked.
    pub params: Value,
    /// When it came.
    pub at: Instant,
    /// With which status it was answered.
    pub status: u16,
}

/// A message of the bot as people see it.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The chat.
    pub chat: i64,
    /// The topic of it.
    pub thread: Option<i64>,
    /// Its number.
    pub id: i64,
    /// The words, without formatting.
    pub text: String,
    /// The words as they were sent.
    pub source: String,
    /// The buttons below it: label and data.
    pub buttons: Vec<(String, String)>,
}

struct Fault {
    method: String,
    status: u16,
    description: String,
    retry_after: Option<u64>,
    /// So many calls go well before.
    after: usize,
    times: usize,
}

impl BotApi {
    /// Listens on a free port of the loopback interface.
    pub fn start() -> BotApi {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
        let address = listener.local_addr().expect("the port just bound");
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut state = accepting.lock();
                let Ok(stream) = stream else { continue };
                if state.stopped {
                    break;
                }
                if state.away {
                    continue;
                }
                if let Ok(clone) = stream.try_clone() {
                    state.open.push(clone);
                }
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || serve(&shared, stream));
            }
        });
        BotApi { address, shared }
    }

    /// What `api_url` is set to.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Gives out this update.
    pub fn push(&self, update: Value) {
        self.shared.change(|state| state.updates.push(update));
    }

    /// Gives out these at once, in this order.
    pub fn push_all(&self, updates: impl IntoIterator<Item = Value>) {
        self.shared.change(|state| state.updates.extend(updates));
    }

    /// A user writes in a private chat, whose number is theirs.
    pub fn write(&self, update: i64, user: i64, text: &str) {
        self.push(json!({ "update_id": update, "message": message(user, text) }));
    }

    /// A user presses the button with this label below a message of the bot.
    pub fn press(&self, update: i64, user: i64, sent: &Sent, label: &str) {
        let button = sent.buttons.iter().find(|(name, _)| name == label);
        let data = &button
            .unwrap_or_else(|| panic!("{label} is not below {sent:?}"))
            .1;
        let mut message = json!({
            "reply_markup": { "inline_keyboard": [self.buttons(sent.id)] },
            "message_id": sent.id,
            "date": 1,
            "chat": { "id": sent.chat, "type": kind(sent.chat) },
            "text": sent.text,
        });
        in_topic(&mut message, sent.thread);
        self.push(json!({ "update_id": update, "callback_query": {
            "id": format!("query-{update}"),
            "from": { "id": user, "is_bot": false, "first_name": "Ann" },
            "chat_instance": "1",
            "message": message,
            "data": data,
        }}));
    }

    /// The buttons that are below a message now.
    fn buttons(&self, id: i64) -> Value {
        let state = self.shared.lock();
        let buttons = state
            .sent
            .get(&id)
            .into_iter()
            .flat_map(|sent| &sent.buttons);
        buttons
            .map(|(label, data)| json!({ "text": label, "callback_data": data }))
            .collect()
    }

    /// A file that can be fetched.
    pub fn file(&self, id: &str, bytes: Vec<u8>) {
        self.shared
            .change(|state| drop(state.files.insert(id.to_owned(), bytes)));
    }

    /// The next calls of this method fail so.
    pub fn fail(&self, method: &str, times: usize, status: u16, description: &str) {
        self.fail_for(method, times, status, description, None);
    }

    /// The next calls of this method fail so, and ask to wait.
    pub fn fail_for(
        &self,
        method: &str,
        times: usize,
        status: u16,
        description: &str,
        retry_after: Option<u64>,
    ) {
        let fault = Fault {
            method: method.to_owned(),
            status,
            description: description.to_owned(),
            retry_after,
            after: 0,
            times,
        };
        self.shared.change(|state| state.faults.push(fault));
    }

    /// The second of the next calls of this method fails so.
    pub fn fail_second(&self, method: &str, status: u16, description: &str) {
        self.fail_for(method, 1, status, description, (status == 429).then_some(0));
        self.shared
            .change(|state| state.faults.iter_mut().for_each(|fault| fault.after = 1));
    }

    /// A group becomes a supergroup. Nobody is told of it but by refusals.
    pub fn migrate(&self, group: i64, supergroup: i64) {
        self.shared.change(|state| {
            state.moved.insert(group, supergroup);
        });
    }

    /// Every poll gives everything again, whatever its offset.
    pub fn ignore_offset(&self) {
        self.shared.change(|state| state.ignore_offset = true);
    }

    /// Whether what was acknowledged is forgotten, as the real server does, and whether offsets are
    /// heeded at all.
    pub fn behave(&self, forgets: bool, ignore_offset: bool) {
        self.shared
            .change(|state| (state.forgets, state.ignore_offset) = (forgets, ignore_offset));
    }

    /// Nothing goes wrong from here on.
    pub fn heal(&self) {
        self.away(false);
        self.behave(true, false);
        self.shared.change(|state| state.faults.clear());
    }

    /// How often a method was called so far.
    pub fn count(&self, method: &str) -> usize {
        let state = self.shared.lock();
        state.calls.iter().filter(|c| c.method == method).count()
    }

    /// Goes away: every connection breaks, and new ones are closed. Or comes back.
    pub fn away(&self, away: bool) {
        self.shared.change(|state| {
            state.away = away;
            for stream in state.open.drain(..).filter(|_| away) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
    }

    /// The calls of a method so far.
    pub fn calls(&self, method: &str) -> Vec<Call> {
        let state = self.shared.lock();
        let calls = state.calls.iter().filter(|call| call.method == method);
        calls.cloned().collect()
    }

    /// What the bot has said in a chat, oldest first.
    pub fn said(&self, chat: i64) -> Vec<Sent> {
        let state = self.shared.lock();
        let sent = state.sent.values().filter(|sent| sent.chat == chat);
        sent.cloned().collect()
    }

    /// What the bot shows in a topic of a chat, or outside of its topics, oldest first.
    pub fn said_in(&self, chat: i64, thread: Option<i64>) -> Vec<Sent> {
        let said = self.said(chat).into_iter();
        said.filter(|sent| sent.thread == thread).collect()
    }

    /// Everything that was to be seen there, in its order, also what was changed later.
    pub fn seen_in(&self, chat: i64, thread: Option<i64>) -> Vec<Sent> {
        let state = self.shared.lock();
        let here = |sent: &&Sent| (sent.chat, sent.thread) == (chat, thread);
        state.seen.iter().filter(here).cloned().collect()
    }

    /// Waits until the bot has said something in a chat that fits.
    pub fn wait_for_said(&self, chat: i64, fits: impl Fn(&str) -> bool) -> Sent {
        self.wait("what the bot is to say", |state| {
            let mut sent = state.sent.values();
            sent.find(|sent| sent.chat == chat && fits(&sent.text))
                .cloned()
        })
    }

    /// Waits until a message of the bot fits.
    pub fn wait_for_message(&self, id: i64, fits: impl Fn(&Sent) -> bool) -> Sent {
        self.wait("what the message is to become", |state| {
            state.sent.get(&id).filter(|sent| fits(sent)).cloned()
        })
    }

    /// Waits until a method was called so often.
    pub fn wait_for_calls(&self, method: &str, count: usize) -> Vec<Call> {
        self.wait(&format!("{count} calls of {method}"), |state| {
            let calls = state.calls.iter().filter(|call| call.method == method);
            let calls: Vec<Call> = calls.cloned().collect();
            (calls.len() >= count).then_some(calls)
        })
    }

    /// Waits until everything below this update was acknowledged.
    pub fn wait_for_offset(&self, offset: i64) {
        self.wait("the offset", |state| {
            (state.acknowledged >= offset).then_some(())
        });
    }

    /// The highest offset so far: what is below it was acknowledged.
    pub fn offset(&self) -> i64 {
        self.shared.lock().acknowledged
    }

    fn wait<T>(&self, what: &str, look: impl Fn(&State) -> Option<T>) -> T {
        let until = Instant::now() + LONG;
        let mut state = self.shared.lock();
        loop {
            if let Some(found) = look(&state) {
                return found;
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "{what} did not come: {:?} {:?}",
                state.sent,
                state.calls.iter().rev().take(3).collect::<Vec<_>>()
            );
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for BotApi {
    fn drop(&mut self) {
        self.away(true);
        self.shared.change(|state| state.stopped = true);
        // Wakes the accepting thread, which then finds that it is over.
        let _ = TcpStream::connect(self.address);
    }
}

/// A message of a user in their private chat.
pub fn message(user: i64, text: &str) -> Value {
    json!({
        "message_id": 1,
        "date": 1,
        "chat": { "id": user, "type": "private" },
        "from": { "id": user, "is_bot": false, "first_name": "Ann" },
        "text": text,
    })
}

/// A message of a user in a group, or in a topic of it.
pub fn group_message(chat: i64, thread: Option<i64>, user: i64, text: &str) -> Value {
    let mut message = message(user, text);
    message["chat"] = json!({ "id": chat, "type": kind(chat) });
    in_topic(&mut message, thread);
    message
}

fn kind(chat: i64) -> &'static str {
    if chat < 0 { "supergroup" } else { "private" }
}

fn in_topic(message: &mut Value, thread: Option<i64>) {
    if let Some(thread) = thread {
        message["message_thread_id"] = json!(thread);
        message["is_topic_message"] = json!(true);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

fn serve(shared: &Shared, stream: TcpStream) {
    let mut reader = BufReader::new(stream);
    while let Some((path, body, form)) = request(&mut reader) {
        let (status, answer) = answer(shared, &path, &body, form.as_deref());
        let head = format!(
            "HTTP/1.1 {status} Status\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            answer.len()
        );
        // In one write: the second of two would wait for the other side's acknowledgement.
        let whole = [head.as_bytes(), &answer].concat();
        if reader.get_mut().write_all(&whole).is_err() {
            return;
        }
    }
}

/// The path and body of the next request, and the boundary of its parts if it is a form; none when
/// there is none.
fn request(reader: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>, Option<String>)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let (mut length, mut chunked, mut form) = (0, false, None);
    loop {
        let mut header = String::new();
        reader
            .read_line(&mut header)
            .ok()
            .filter(|read| *read > 0)?;
        if header.trim().is_empty() {
            break;
        }
        let (name, value) = header.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        }
        chunked |= name.eq_ignore_ascii_case("transfer-encoding");
        if let Some((_, boundary)) = value.split_once("form-data; boundary=") {
            form = Some(boundary.trim().to_owned());
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    while chunked {
        let mut size = String::new();
        reader.read_line(&mut size).ok()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk).ok()?;
        body.extend_from_slice(&chunk[..size]);
        chunked = size > 0;
    }
    Some((path, body, form))
}

/// The fields of a form. Of a file it has the name and the bytes, each as one character.
fn fields(body: &[u8], boundary: &str) -> Value {
    let text: String = body.iter().map(|byte| char::from(*byte)).collect();
    let mut fields = Value::Null;
    for part in text.split(&format!("--{boundary}")).skip(1) {
        let Some((head, content)) = part.split_once("\r\n\r\n") else {
            continue;
        };
        let content = content.strip_suffix("\r\n").unwrap_or(content);
        let quoted = |key: &str| {
            let (_, rest) = head.split_once(&format!(" {key}=\""))?;
            rest.split('"').next()
        };
        let Some(name) = quoted("name") else {
            continue;
        };
        fields[name] = match quoted("filename") {
            Some(file) => json!({ "name": file, "bytes": content }),
            None => serde_json::from_str(content).unwrap_or_else(|_| json!(content)),
        };
    }
    fields
}

fn answer(shared: &Shared, path: &str, body: &[u8], form: Option<&str>) -> (u16, Vec<u8>) {
    if let Some(file) = path.strip_prefix(&format!("/file/bot{TOKEN}/files/")) {
        let state = shared.lock();
        return match state.files.get(file) {
            Some(bytes) => (200, bytes.clone()),
            None => (404, b"{}".to_vec()),
        };
    }
    let Some(method) = path.strip_prefix(&format!("/bot{TOKEN}/")) else {
        let refused = json!({ "ok": false, "error_code": 401, "description": "Unauthorized" });
        let call = Call {
            method: "unauthorized".to_owned(),
            params: Value::Null,
            at: Instant::now(),
            status: 401,
        };
        shared.change(|state| state.calls.push(call));
        return (401, refused.to_string().into_bytes());
    };
    let params: Value = match form {
        Some(boundary) => fields(body, boundary),
        None => serde_json::from_slice(body).unwrap_or_default(),
    };
    let result = shared.fault(method, &params).map_or_else(
        || match method {
            "getUpdates" => Ok(shared.updates(&params)),
            _ => shared.lock().act(method, &params),
        },
        Err,
    );
    let (status, answer) = match result {
        Ok(result) => (200, json!({ "ok": true, "result": result })),
        Err((status, description, parameters)) => {
            let mut answer = json!({
                "ok": false, "error_code": status, "description": description,
            });
            if let Some(parameters) = parameters {
                answer["parameters"] = parameters;
            }
            (status, answer)
        }
    };
    let call = Call {
        method: method.to_owned(),
        params,
        at: Instant::now(),
        status,
    };
    shared.change(|state| state.calls.push(call));
    (status, answer.to_string().into_bytes())
}

/// A status, words, and what a program can read of them.
type Refused = (u16, String, Option<Value>);

impl Shared {
    /// How this call is to fail, if it is.
    fn fault(&self, method: &str, params: &Value) -> Option<Refused> {
        let mut state = self.lock();
        let mut faults = state.faults.iter_mut();
        let fault = faults.find(|fault| fault.method == method && fault.times > 0)?;
        // Of a text without formatting nobody says that it has the wrong one.
        let plain = params["parse_mode"].is_null();
        if plain && fault.description.contains("can't parse entities") {
            return None;
        }
        if fault.after > 0 {
            fault.after -= 1;
            return None;
        }
        fault.times -= 1;
        let parameters = fault.retry_after.map(|s| json!({ "retry_after": s }));
        Some((fault.status, fault.description.clone(), parameters))
    }

    /// Waits for updates from the offset on, for as long as the poll allows.
    fn updates(&self, params: &Value) -> Value {
        let offset = params["offset"].as_i64().unwrap_or(0);
        let timeout = Duration::from_secs(params["timeout"].as_u64().unwrap_or(0));
        let until = Instant::now() + timeout;
        let mut state = self.lock();
        let number = |update: &Value| update["update_id"].as_i64().unwrap_or(i64::MAX);
        state.acknowledged = state.acknowledged.max(offset);
        if state.forgets && !state.ignore_offset {
            state.updates.retain(|update| number(update) >= offset);
        }
        self.changed.notify_all();
        loop {
            let from = if state.ignore_offset { 0 } else { offset };
            // As many as the real one gives: the lowest numbers, if not always in their order.
            let mut numbers: Vec<i64> = state.updates.iter().map(number).collect();
            numbers.retain(|number| *number >= from);
            numbers.sort_unstable();
            let last = numbers.get(99).copied().unwrap_or(i64::MAX);
            let updates = state.updates.iter();
            let updates = updates.filter(|update| (from..=last).contains(&number(update)));
            let updates: Vec<Value> = updates.cloned().collect();
            let left = until.saturating_duration_since(Instant::now());
            if !updates.is_empty() || left.is_zero() || state.away {
                return Value::Array(updates);
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl State {
    fn act(&mut self, method: &str, params: &Value) -> Result<Value, Refused> {
        let bad = |words: &str| (400, format!("Bad Request: {words}"), None);
        let chat = params["chat_id"].as_i64().unwrap_or_default();
        if let Some(now) = self.moved.get(&chat) {
            let words = "Bad Request: group chat was upgraded to a supergroup chat";
            let parameters = json!({ "migrate_to_chat_id": now });
            return Err((400, words.to_owned(), Some(parameters)));
        }
        match method {
            "getMe" => Ok(json!({
                "id": BOT, "is_bot": true, "first_name": "Crab", "username": NAME,
            })),
            "setMyCommands" | "sendChatAction" | "answerCallbackQuery" => Ok(json!(true)),
            "getFile" => {
                let id = params["file_id"].as_str().unwrap_or_default();
                Ok(json!({
                    "file_id": id, "file_unique_id": id, "file_path": format!("files/{id}"),
                }))
            }
            "sendMessage" => {
                let id = 1_000 + i64::try_from(self.sent.len()).unwrap_or_default();
                let sent = Sent {
                    chat: params["chat_id"]
                        .as_i64()
                        .ok_or_else(|| bad("chat not found"))?,
                    thread: params["message_thread_id"].as_i64(),
                    id,
                    text: visible(params).map_err(|words| bad(&words))?,
                    source: params["text"].as_str().unwrap_or_default().to_owned(),
                    buttons: buttons(params),
                };
                self.seen.push(sent.clone());
                self.sent.insert(id, sent);
                Ok(json!({ "message_id": id, "something": ["of", "a", "later", "day"] }))
            }
            "sendPhoto" | "sendDocument" => {
                let field = ["photo", "document"]
                    .into_iter()
                    .find(|f| params[f]["bytes"].is_string());
                field.ok_or_else(|| bad("there is no file in the request"))?;
                Ok(json!({ "message_id": 900, "something": ["of", "a", "later", "day"] }))
            }
            "editMessageText" | "editMessageReplyMarkup" => {
                let id = params["message_id"].as_i64().unwrap_or_default();
                let text = match method {
                    "editMessageText" => Some(visible(params).map_err(|words| bad(&words))?),
                    _ => None,
                };
                let missing = || bad("message to edit not found");
                let sent = self.sent.get_mut(&id).ok_or_else(missing)?;
                let text = text.unwrap_or_else(|| sent.text.clone());
                let buttons = buttons(params);
                if sent.text == text && sent.buttons == buttons {
                    return Err(bad("message is not modified: it is the same"));
                }
                (sent.text, sent.buttons) = (text, buttons);
                if method == "editMessageText" {
                    self.seen.push(sent.clone());
                }
                Ok(json!({ "message_id": id }))
            }
            other => Err((404, format!("Not Found: method {other}"), None)),
        }
    }
}

fn buttons(params: &Value) -> Vec<(String, String)> {
    let rows = params["reply_markup"]["inline_keyboard"].as_array();
    let buttons = rows
        .into_iter()
        .flatten()
        .filter_map(Value::as_array)
        .flatten();
    let words = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let buttons = buttons.map(|button| (words(&button["text"]), words(&button["callback_data"])));
    buttons
        .inspect(|(_, data)| assert!((1..=64).contains(&data.len()), "a button holds {data:?}"))
        .collect()
}

/// What people see of a message, or why it is refused.
fn visible(params: &Value) -> Result<String, String> {
    let text = params["text"].as_str().unwrap_or_default();
    let text = match params["parse_mode"].as_str() {
        Some("HTML") => shown(text).map_err(|why| format!("can't parse entities: {why}"))?,
        _ => text.to_owned(),
    };
    if text.trim().is_empty() {
        return Err("message text is empty".to_owned());
    }
    match text.encode_utf16().count() > 4_096 {
        true => Err("message is too long".to_owned()),
        false => Ok(text),
    }
}

/// The text of an HTML message, if it is one that the API understands.
pub fn shown(html: &str) -> Result<String, String> {
    let known: BTreeSet<&str> =
        BTreeSet::from(["b", "i", "u", "s", "a", "code", "pre", "blockquote"]);
    let (mut out, mut open, mut rest) = (String::new(), Vec::new(), html);
    while let Some(at) = rest.find(['<', '>', '&']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with('&') {
            let entities = [
                ("&amp;", '&'),
                ("&lt;", '<'),
                ("&gt;", '>'),
                ("&quot;", '"'),
            ];
            let entity = entities.iter().find(|(name, _)| rest.starts_with(name));
            let (name, c) = entity.ok_or("a stray &")?;
            out.push(*c);
            rest = &rest[name.len()..];
            continue;
        }
        let end = rest
            .find('>')
            .filter(|end| *end > 0)
            .ok_or("a stray < or >")?;
        let tag = &rest[1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            let last = open.pop();
            if last != Some(name) {
                return Err(format!("{last:?} is closed by {name}"));
            }
            continue;
        }
        let (name, attribute) = tag.split_once(' ').unwrap_or((tag, ""));
        let fits = match name {
            "a" => attribute.starts_with("href=\"") && attribute.matches('"').count() == 2,
            "code" => attribute.is_empty() || attribute.starts_with("class=\"language-"),
            _ => attribute.is_empty(),
        };
        let in_code = open.contains(&"code") || (open.contains(&"pre") && name != "code");
        if !known.contains(name) || !fits || in_code || (name == "a" && open.contains(&"a")) {
            return Err(format!("<{tag}> inside of {open:?}"));
        }
        open.push(name);
    }
    out.push_str(rest);
    match open.is_empty() {
        true => Ok(out),
        false => Err(format!("{open:?} is not closed")),
    }
}
