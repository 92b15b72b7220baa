//! Secrets, and keeping them out of everything (law 22).
//!
//! [`Secrets`] knows every secret value that the program holds and the name each came from. It
//! replaces them in text by `[redacted: NAME]`, also where they were encoded as Base64 or for a
//! URL or for JSON, and it tells which environment variables no command may see. The driver passes
//! every input through [`Secrets::redact_input`] before the core sees it, so none is journaled.
//!
//! What it cannot see: a value of fewer than [`MIN_CHARS`] characters, half a value that a command
//! printed alone, and an encoding other than those named.

use aho_corasick::{AhoCorasick, MatchKind};
use openpista_core::effect::deliver::DeliverFault;
use openpista_core::effect::model::{ModelFault, Reply};
use openpista_core::effect::sandbox::{Done, Ended, SandboxFault};
use openpista_core::effect::tool::{Ran, ToolFault};
use openpista_core::effect::{Chunk, Outcome};
use openpista_core::input::{Arrival, Input, Order};
use openpista_core::skill::Skill;
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// The environment variables that hold secrets of ours. No command sees them.
pub const SECRET_VARIABLES: [&str; 6] = [
    "OPENPISTACRAB_API_KEY",
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "TOGETHER_API_KEY",
    "OPENROUTER_API_KEY",
    "TELEGRAM_BOT_TOKEN",
];

/// The shortest value that is redacted, in characters: a shorter one is likely to be an ordinary
/// word, and to replace it would make nonsense of innocent text.
pub const MIN_CHARS: usize = 8;

/// The longest file that holds a secret, in bytes.
const MAX_BYTES: u64 = 16_384;

/// A secret value. It cannot be printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a value; blanks around it, such as a file's last line break, are not part of it.
    pub fn new(value: &str) -> Secret {
        Secret(value.trim().to_owned())
    }

    /// Reads a value that is alone in a file; `-` is not special here.
    ///
    /// # Errors
    /// Why it cannot be, to follow the file's name.
    pub fn read_from(path: &Path) -> Result<Secret, String> {
        let file = File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
        Secret::read(file)
    }

    /// Reads a value to the end of what holds it.
    ///
    /// # Errors
    /// Why it cannot be, to follow the name of what holds it.
    pub fn read(from: impl Read) -> Result<Secret, String> {
        let mut bytes = Vec::new();
        let read = from.take(MAX_BYTES + 1).read_to_end(&mut bytes);
        read.map_err(|error| format!("cannot be read: {error}"))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(format!("holds more than {MAX_BYTES} bytes"));
        }
        let secret = Secret::new(&String::from_utf8_lossy(&bytes));
        match secret.fault() {
            Some(fault) => Err(fault.to_owned()),
            None => Ok(secret),
        }
    }

    /// Why this is no key or token, to follow the name of what holds it.
    pub fn fault(&self) -> Option<&'static str> {
        match self.0.as_str() {
            "" => Some("holds nothing"),
            text if text.chars().all(|c| c.is_ascii_graphic()) => None,
            _ => Some("holds characters that no key has, such as a blank or a line break"),
        }
    }

    /// The value itself, to be sent to the one it is for.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        String::deserialize(deserializer).map(|value| Secret::new(&value))
    }
}

/// All secrets that the program holds. Cheap to clone.
#[derive(Clone, Default)]
pub struct Secrets(Arc<Known>);

#[derive(Default)]
struct Known {
    names: Vec<String>,
    /// What to look for. The tag of the same index takes its place.
    patterns: Vec<String>,
    tags: Vec<String>,
    longest: usize,
    /// None when there is nothing to look for.
    finder: Option<AhoCorasick>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Secrets").field(&self.0.names).finish()
    }
}

impl Secrets {
    /// Collects secrets with the name each came from: an environment variable, or a key of the
    /// configuration such as `agent.api_key`. Where two have the same value, the first name counts.
    pub fn new<N: Into<String>>(secrets: impl IntoIterator<Item = (N, Secret)>) -> Secrets {
        let mut names = Vec::new();
        let mut forms = BTreeMap::new();
        for (name, secret) in secrets {
            let name = name.into();
            add_forms(&mut forms, &name, &secret);
            names.push(name);
        }
        Secrets::of(names, forms)
    }

    /// These and one more.
    pub fn and(&self, name: &str, secret: &Secret) -> Secrets {
        let Known {
            names,
            patterns,
            tags,
            ..
        } = &*self.0;
        let mut forms = patterns.iter().cloned().zip(tags.iter().cloned()).collect();
        add_forms(&mut forms, name, secret);
        let names = names.iter().cloned().chain([name.to_owned()]);
        Secrets::of(names.collect(), forms)
    }

    fn of(names: Vec<String>, forms: BTreeMap<String, String>) -> Secrets {
        let (patterns, tags): (Vec<_>, Vec<_>) = forms.into_iter().unzip();
        let finder = (!patterns.is_empty()).then(|| {
            AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostLongest)
                .build(&patterns)
                .expect("secrets fit into memory many times over")
        });
        Secrets(Arc::new(Known {
            names,
            longest: patterns.iter().map(String::len).max().unwrap_or(0),
            patterns,
            tags,
            finder,
        }))
    }

    /// The text with every secret replaced by `[redacted: NAME]`.
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let found = |finder: &AhoCorasick| finder.is_match(text);
        if !self.0.finder.as_ref().is_some_and(found) {
            return Cow::Borrowed(text);
        }
        let mut out = String::with_capacity(text.len());
        let done = self.replace(text, text.len(), &mut out);
        out.push_str(&text[done..]);
        Cow::Owned(out)
    }

    /// Redacts a text that arrives in pieces.
    pub fn redactor(&self) -> Redactor {
        Redactor {
            secrets: self.clone(),
            held: String::new(),
        }
    }

    /// Those of the variables that a command must not see: the ones that secrets came from or
    /// usually come from, and any whose value has a secret in it.
    pub fn hidden_variables(
        &self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Vec<OsString> {
        let hidden = |name: &OsString, value: &OsString| {
            SECRET_VARIABLES.iter().any(|known| name == known)
                || self.0.names.iter().any(|known| name == known.as_str())
                || matches!(self.redact(&value.to_string_lossy()), Cow::Owned(_))
        };
        let variables = variables.into_iter();
        variables
            .filter(|(name, value)| hidden(name, value))
            .map(|(name, _)| name)
            .collect()
    }

    /// The input without secrets in what people, models and commands said.
    pub fn redact_input(&self, input: Input) -> Input {
        if self.0.finder.is_none() {
            return input;
        }
        match input {
            Input::Arrive(arrival) => Input::Arrive(Arrival {
                session: arrival.session.map(|name| self.clean(name)),
                text: self.clean(arrival.text),
                ..arrival
            }),
            Input::Finish {
                effect,
                attempt,
                outcome,
            } => Input::Finish {
                effect,
                attempt,
                outcome: self.clean_outcome(outcome),
            },
            Input::Progress { effect, chunk } => Input::Progress {
                effect,
                chunk: match chunk {
                    Chunk::Text(text) => Chunk::Text(self.clean(text)),
                    Chunk::Output(text) => Chunk::Output(self.clean(text)),
                },
            },
            Input::Report { token, ended } => Input::Report {
                token,
                ended: self.clean_ended(ended),
            },
            Input::Order(Order::Stop { session, by }) => Input::Order(Order::Stop {
                session: self.clean(session),
                by,
            }),
            Input::Learn { skills } => Input::Learn {
                skills: skills.into_iter().map(|s| self.clean_skill(s)).collect(),
            },
            Input::Boot(_)
            | Input::Tick(_)
            | Input::Wall { .. }
            | Input::Order(_)
            | Input::Move { .. }
            | Input::Present { .. } => input,
        }
    }

    fn clean_outcome(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Model(Ok(reply)) => Outcome::Model(Ok(self.clean_reply(reply))),
            Outcome::Model(Err(fault)) => Outcome::Model(Err(self.clean_model_fault(fault))),
            Outcome::Tool(Ok(ran)) => Outcome::Tool(Ok(self.clean_ran(ran))),
            Outcome::Tool(Err(fault)) => Outcome::Tool(Err(match fault {
                ToolFault::Arguments { message } => ToolFault::Arguments {
                    message: self.clean(message),
                },
                ToolFault::Start { message } => ToolFault::Start {
                    message: self.clean(message),
                },
                ToolFault::Cancelled => ToolFault::Cancelled,
            })),
            Outcome::Sandbox(Ok(Done::Ended(ended))) => {
                Outcome::Sandbox(Ok(Done::Ended(self.clean_ended(ended))))
            }
            Outcome::Sandbox(Ok(_)) => outcome,
            Outcome::Sandbox(Err(fault)) => Outcome::Sandbox(Err(match fault {
                SandboxFault::Unavailable { message } => SandboxFault::Unavailable {
                    message: self.clean(message),
                },
                SandboxFault::Arguments { message } => SandboxFault::Arguments {
                    message: self.clean(message),
                },
                SandboxFault::Failed { message } => SandboxFault::Failed {
                    message: self.clean(message),
                },
                SandboxFault::Lost | SandboxFault::TimedOut | SandboxFault::Cancelled => fault,
            })),
            Outcome::Deliver(Err(fault)) => Outcome::Deliver(Err(match fault {
                DeliverFault::Unreachable { message } => DeliverFault::Unreachable {
                    message: self.clean(message),
                },
                DeliverFault::Gone { message } => DeliverFault::Gone {
                    message: self.clean(message),
                },
                DeliverFault::RateLimited { .. }
                | DeliverFault::Unformatted
                | DeliverFault::Absent => fault,
            })),
            Outcome::Deliver(Ok(_)) | Outcome::Cancel(_) => outcome,
        }
    }

    fn clean_reply(&self, mut reply: Reply) -> Reply {
        reply.text = self.clean(reply.text);
        for call in &mut reply.calls {
            call.id = self.clean(std::mem::take(&mut call.id));
            call.tool = self.clean(std::mem::take(&mut call.tool));
            call.arguments = self.clean(std::mem::take(&mut call.arguments));
        }
        reply
    }

    fn clean_skill(&self, mut skill: Skill) -> Skill {
        skill.description = self.clean(skill.description);
        skill.body = self.clean(skill.body.to_string()).into();
        if let Some(tool) = &mut skill.tool {
            tool.description = self.clean(std::mem::take(&mut tool.description));
            tool.parameters = self.clean(std::mem::take(&mut tool.parameters));
        }
        skill
    }

    fn clean_ended(&self, Ended { ran, note }: Ended) -> Ended {
        Ended {
            ran: self.clean_ran(ran),
            note: note.map(|note| self.clean(note)),
        }
    }

    fn clean_ran(&self, mut ran: Ran) -> Ran {
        ran.stdout.text = self.clean(ran.stdout.text);
        ran.stderr.text = self.clean(ran.stderr.text);
        ran
    }

    fn clean_model_fault(&self, fault: ModelFault) -> ModelFault {
        match fault {
            ModelFault::RateLimited {
                retry_after_ms,
                message,
            } => ModelFault::RateLimited {
                retry_after_ms,
                message: self.clean(message),
            },
            ModelFault::Server { status, message } => ModelFault::Server {
                status,
                message: self.clean(message),
            },
            ModelFault::Network { message } => ModelFault::Network {
                message: self.clean(message),
            },
            ModelFault::Garbled { message } => ModelFault::Garbled {
                message: self.clean(message),
            },
            ModelFault::Rejected { status, message } => ModelFault::Rejected {
                status,
                message: self.clean(message),
            },
            ModelFault::TimedOut | ModelFault::Empty | ModelFault::Cancelled => fault,
        }
    }

    fn clean(&self, text: String) -> String {
        match self.redact(&text) {
            Cow::Owned(clean) => clean,
            Cow::Borrowed(_) => text,
        }
    }

    /// Copies `text` with the secrets that begin before `end` replaced, up to the last of them;
    /// returns how far that is.
    fn replace(&self, text: &str, end: usize, out: &mut String) -> usize {
        let mut done = 0;
        if let Some(finder) = &self.0.finder {
            for found in finder.find_iter(text) {
                if found.start() >= end {
                    break;
                }
                out.push_str(&text[done..found.start()]);
                out.push_str(&self.0.tags[found.pattern().as_usize()]);
                done = found.end();
            }
        }
        done
    }

    /// Where in `text`, not before `from`, a secret may begin whose end has not come yet.
    fn unfinished(&self, text: &str, from: usize) -> usize {
        let earliest = (text.len() + 1).saturating_sub(self.0.longest).max(from);
        let open = |start: &usize| {
            let rest = &text.as_bytes()[*start..];
            let begins =
                |form: &String| form.len() > rest.len() && form.as_bytes().starts_with(rest);
            text.is_char_boundary(*start) && self.0.patterns.iter().any(begins)
        };
        (earliest..text.len()).find(open).unwrap_or(text.len())
    }
}

/// Redacts a text that arrives in pieces, wherever it was cut. Holds back only what may be the
/// beginning of a secret, so never more than the longest one.
#[derive(Debug)]
pub struct Redactor {
    secrets: Secrets,
    held: String,
}

impl Redactor {
    /// Takes the next piece, and appends to `out` what is known to be clean.
    pub fn push(&mut self, text: &str, out: &mut String) {
        if self.secrets.0.finder.is_none() {
            out.push_str(text);
            return;
        }
        self.held.push_str(text);
        let open = self.secrets.unfinished(&self.held, 0);
        let done = self.secrets.replace(&self.held, open, out);
        let open = match done > open {
            true => self.secrets.unfinished(&self.held, done),
            false => open,
        };
        out.push_str(&self.held[done..open]);
        self.held.drain(..open);
    }

    /// Appends to `out` what was held back: no more will come.
    pub fn finish(&mut self, out: &mut String) {
        out.push_str(&self.secrets.redact(&std::mem::take(&mut self.held)));
    }
}

/// Adds what to look for, and what takes its place.
fn add_forms(forms: &mut BTreeMap<String, String>, name: &str, secret: &Secret) {
    if secret.0.chars().count() >= MIN_CHARS {
        for form in encodings(&secret.0) {
            forms
                .entry(form)
                .or_insert_with(|| format!("[redacted: {name}]"));
        }
    }
}

/// The value, and the forms it takes inside JSON, a URL or Base64.
fn encodings(value: &str) -> Vec<String> {
    let json = serde_json::Value::from(value).to_string();
    let mut forms = vec![
        value.to_owned(),
        json[1..json.len() - 1].to_owned(),
        percent(value, b"0123456789ABCDEF"),
        percent(value, b"0123456789abcdef"),
    ];
    for offset in 0..3 {
        let standard = base64_inside(value.as_bytes(), offset);
        forms.push(standard.replace('+', "-").replace('/', "_"));
        forms.push(standard);
    }
    forms
}

fn percent(value: &str, digits: &[u8; 16]) -> String {
    let mut out = String::new();
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(digits[usize::from(byte >> 4)]));
            out.push(char::from(digits[usize::from(byte & 15)]));
        }
    }
    out
}

/// The Base64 digits that `value` gives when `offset` bytes of something else precede it: those
/// that no neighbour has a part in.
fn base64_inside(value: &[u8], offset: usize) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bit = |at: usize| value[at / 8] >> (7 - at % 8) & 1;
    let first = (6 - offset * 8 % 6) % 6;
    let starts = (first..).step_by(6);
    starts
        .take_while(|start| start + 6 <= value.len() * 8)
        .map(|start| (start..start + 6).fold(0, |digit, at| digit << 1 | bit(at)))
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use openpista_core::effect::Recovery;
    use openpista_core::effect::tool::{Clip, Exit};
    use openpista_core::id::{Attempt, EffectId, Seq};
    use openpista_core::message::{ToolCall, ToolSpec};
    use proptest::prelude::*;

    const KEY: &str = "sk-canary+/\"0123\\xyz";

    fn secrets() -> Secrets {
        Secrets::new([("MY_KEY", Secret::new(KEY)), ("PIN", Secret::new("1234"))])
    }

    #[test]
    fn a_secret_is_not_printed_by_accident() {
        let printed = format!("{0} {0:?} {1:?}", Secret::new(KEY), secrets());
        assert_eq!(printed, r#"[secret] [secret] Secrets(["MY_KEY", "PIN"])"#);
    }

    #[test]
    fn every_form_is_redacted_and_innocent_text_is_borrowed() {
        let json = serde_json::to_string(KEY).unwrap();
        let forms = [
            KEY,
            &json,
            "sk-canary%2B%2F%220123%5Cxyz",
            "sk-canary%2b%2f%220123%5cxyz",
        ];
        for form in forms {
            let text = format!("a {form} b {form}");
            let clean = secrets().redact(&text).into_owned();
            assert_eq!(clean.matches("[redacted: MY_KEY]").count(), 2, "{clean}");
            assert!(!clean.contains("canary"), "{clean}");
        }
        assert!(matches!(
            secrets().redact("PIN 1234"),
            Cow::Borrowed("PIN 1234")
        ));
    }

    #[test]
    fn one_more_secret_is_one_more_and_takes_no_name_away() {
        let more = secrets().and("a token", &Secret::new("0123456789abcdef"));
        let text = format!("{KEY} 0123456789abcdef");
        assert_eq!(more.redact(&text), "[redacted: MY_KEY] [redacted: a token]");
        let again = more.and("another", &Secret::new(KEY));
        assert_eq!(again.redact(KEY), "[redacted: MY_KEY]");
        let printed = format!("{again:?}");
        assert!(printed.contains("a token") && printed.contains("another"));
    }

    #[test]
    fn base64_is_redacted_at_every_alignment() {
        // "sk-canary-0123456789" behind 0, 1 and 2 bytes of "user:"-like context.
        let secrets = Secrets::new([("K", Secret::new("sk-canary-0123456789"))]);
        for (encoded, left) in [
            ("c2stY2FuYXJ5LTAxMjM0NTY3ODk=", "[redacted: K]k="),
            ("OnNrLWNhbmFyeS0wMTIzNDU2Nzg5", "On[redacted: K]"),
            ("YTpzay1jYW5hcnktMDEyMzQ1Njc4OQ==", "YTp[redacted: K]Q=="),
        ] {
            assert_eq!(secrets.redact(encoded), left, "{encoded}");
        }
    }

    #[test]
    fn the_longest_of_two_overlapping_secrets_wins() {
        let secrets = Secrets::new([
            ("SHORT", Secret::new("abcdefgh")),
            ("LONG", Secret::new("abcdefghijkl")),
        ]);
        assert_eq!(
            secrets.redact("abcdefghijkl abcdefghij"),
            "[redacted: LONG] [redacted: SHORT]ij"
        );
    }

    #[test]
    fn a_redactor_holds_back_nothing_but_the_beginning_of_a_secret() {
        let mut redactor = secrets().redactor();
        let mut out = String::new();
        redactor.push("downloading… 50%", &mut out);
        assert_eq!(out, "downloading… 50%");
        redactor.push(" sk-can", &mut out);
        assert_eq!(out, "downloading… 50% ");
        redactor.push("teen", &mut out);
        assert_eq!(out, "downloading… 50% sk-canteen");
    }

    #[test]
    fn variables_are_hidden_by_name_and_by_value() {
        let variables = [
            ("PATH", "/bin"),
            ("OPENAI_API_KEY", "anything"),
            ("PIN", "1234"),
            ("MY_KEY", "changed meanwhile"),
            ("URL", "https://user:sk-canary%2B%2F%220123%5Cxyz@host"),
        ];
        let variables = variables.map(|(name, value)| (name.into(), value.into()));
        let hidden = secrets().hidden_variables(variables);
        assert_eq!(hidden, ["OPENAI_API_KEY", "PIN", "MY_KEY", "URL"]);
    }

    /// Law 22: whatever a person, a model, a command or a server says, the core never hears a
    /// secret.
    #[test]
    fn law_22_no_input_carries_a_secret() {
        let said = || format!("the key is {KEY}.");
        let arguments = serde_json::json!({ "command": said() }).to_string();
        let clip = || Clip {
            text: said(),
            cut_chars: 0,
        };
        let reply = Reply {
            text: said(),
            calls: vec![ToolCall {
                id: said(),
                tool: said(),
                arguments,
            }],
            ..Reply::default()
        };
        let ran = Ran {
            exit: Exit::Code(0),
            stdout: clip(),
            stderr: clip(),
            took_ms: 1,
            pictures: Vec::new(),
        };
        let outcomes = [
            Outcome::Model(Ok(reply)),
            Outcome::Model(Err(ModelFault::RateLimited {
                retry_after_ms: None,
                message: said(),
            })),
            Outcome::Model(Err(ModelFault::Server {
                status: 500,
                message: said(),
            })),
            Outcome::Model(Err(ModelFault::Network { message: said() })),
            Outcome::Model(Err(ModelFault::Garbled { message: said() })),
            Outcome::Model(Err(ModelFault::Rejected {
                status: 401,
                message: said(),
            })),
            Outcome::Tool(Ok(ran)),
            Outcome::Tool(Err(ToolFault::Arguments { message: said() })),
            Outcome::Tool(Err(ToolFault::Start { message: said() })),
            Outcome::Deliver(Err(DeliverFault::Unreachable { message: said() })),
            Outcome::Deliver(Err(DeliverFault::Gone { message: said() })),
        ];
        let effect = EffectId {
            seq: Seq(1),
            slot: 0,
        };
        let mut inputs: Vec<Input> = outcomes
            .into_iter()
            .map(|outcome| Input::Finish {
                effect,
                attempt: Attempt::FIRST,
                outcome,
            })
            .collect();
        inputs.extend(
            [Chunk::Text(said()), Chunk::Output(said())]
                .map(|chunk| Input::Progress { effect, chunk }),
        );
        inputs.push(Input::Order(Order::Stop {
            session: said(),
            by: "cli:local".into(),
        }));
        inputs.push(Input::Arrive(Arrival {
            origin: "cli:local".into(),
            key: "1".into(),
            peer: "cli:local".into(),
            session: Some(said()),
            text: said(),
            serial: None,
        }));
        inputs.push(Input::Learn {
            skills: vec![Skill {
                name: "a".into(),
                description: said(),
                body: said().into(),
                tool: Some(ToolSpec {
                    name: "skill.a".into(),
                    description: said(),
                    parameters: said(),
                    recovery: Recovery::Doubt,
                    read_only: true,
                    timeout_ms: 1,
                    sandbox: None,
                }),
            }],
        });
        for input in inputs {
            let dirty = serde_json::to_string(&input).unwrap();
            assert!(dirty.contains("canary"), "{dirty}");
            let clean = serde_json::to_string(&secrets().redact_input(input)).unwrap();
            assert!(!clean.contains("canary"), "{clean}");
            assert!(clean.contains("[redacted: MY_KEY]"), "{clean}");
        }
    }

    proptest! {
        /// Wherever a text is cut, the pieces redact to what the whole does.
        #[test]
        fn pieces_redact_like_the_whole(
            parts in prop::collection::vec(
                prop_oneof![Just("aabaabaac"), Just("aabaabaacaab"), Just("baacaabz"),
                            Just("a"), Just("b"), Just("aab"), Just("é"), Just("c")],
                0..20,
            ),
            cuts in prop::collection::vec(0usize..80, 0..12),
        ) {
            let secrets = Secrets::new([
                ("ONE", Secret::new("aabaabaac")),
                ("TWO", Secret::new("aabaabaacaab")),
                ("THREE", Secret::new("baacaabz")),
            ]);
            let text = parts.concat();
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|c| text.is_char_boundary(*c)).collect();
            cuts.push(text.len());
            cuts.sort_unstable();
            let (mut redactor, mut out, mut from) = (secrets.redactor(), String::new(), 0);
            for cut in cuts {
                redactor.push(&text[from..cut], &mut out);
                prop_assert!(redactor.held.len() < secrets.0.longest);
                from = cut;
            }
            redactor.finish(&mut out);
            prop_assert_eq!(out, secrets.redact(&text));
        }
    }
}
