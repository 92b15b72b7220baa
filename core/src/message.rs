//! What a conversation is made of, and the request that a model is sent.
//!
//! These are the provider-neutral shapes: [`crate::wire`] turns them into a provider's JSON.

use crate::digest::Digest;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// One entry of a transcript.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub enum Message {
    /// What a person wrote.
    User {
        /// Their words.
        text: String,
    },
    /// What the model answered.
    Assistant {
        /// Its words; may be empty when it only calls tools.
        text: String,
        /// The tools it wants run, in its order.
        calls: Vec<ToolCall>,
    },
    /// What a tool call came to.
    Tool {
        /// The [`ToolCall::id`] that this answers.
        call_id: String,
        /// The result, as the model reads it.
        content: String,
        /// What it can look at besides.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pictures: Vec<Picture>,
    },
}

/// A picture that a tool made. What it shows stays in its file: the journal knows where that is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// The file, a PNG.
    pub path: String,
    /// How wide it is, in pixels.
    pub width: u32,
    /// How high it is, in pixels.
    pub height: u32,
    /// A file with the same picture made small enough for a model, where it is not small already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub small: Option<String>,
}

impl Picture {
    /// What a terminal says of it.
    pub fn describe(&self) -> String {
        let Picture {
            path,
            width,
            height,
            ..
        } = self;
        format!("picture, {width}×{height}: {path}")
    }

    /// The file that a model is shown.
    pub fn for_models(&self) -> &str {
        self.small.as_deref().unwrap_or(&self.path)
    }
}

impl Message {
    /// How much of a context budget this message takes, in bytes of UTF-8.
    pub fn weight(&self) -> usize {
        match self {
            Message::User { text } => text.len(),
            Message::Assistant { text, calls } => {
                let calls: usize = calls
                    .iter()
                    .map(|c| c.id.len() + c.tool.len() + c.arguments.len())
                    .sum();
                text.len() + calls
            }
            Message::Tool {
                call_id,
                content,
                pictures,
            } => {
                let paths = pictures.iter().map(|p| p.path.len() + p.for_models().len());
                call_id.len() + content.len() + paths.sum::<usize>()
            }
        }
    }

    /// A digest of the whole message.
    pub fn digest(&self) -> Digest {
        match self {
            Message::User { text } => Digest::of(&[b"user", text.as_bytes()]),
            Message::Assistant { text, calls } => {
                let mut parts: Vec<&[u8]> = Vec::with_capacity(2 + calls.len() * 3);
                parts.push(b"assistant");
                parts.push(text.as_bytes());
                for call in calls {
                    parts.push(call.id.as_bytes());
                    parts.push(call.tool.as_bytes());
                    parts.push(call.arguments.as_bytes());
                }
                Digest::of(&parts)
            }
            Message::Tool {
                call_id,
                content,
                pictures,
            } => {
                let mut parts: Vec<&[u8]> = Vec::with_capacity(3 + pictures.len());
                parts.extend([b"tool", call_id.as_bytes(), content.as_bytes()]);
                parts.extend(pictures.iter().map(|p| p.for_models().as_bytes()));
                Digest::of(&parts)
            }
        }
    }
}

/// A model's wish to have a tool run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The provider's name for this call; the codec makes it unique within its reply.
    pub id: String,
    /// The tool's name as we offer it, for example `system.run`.
    pub tool: String,
    /// The arguments exactly as the model wrote them: meant to be a JSON object, not trusted to be.
    pub arguments: String,
}

/// A tool as the model is told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolSpec {
    /// For example `system.run`. Codecs map it to what a provider's rules for names allow.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// The JSON Schema of its arguments, as JSON text.
    pub parameters: String,
    /// What a crash leaves behind; decides whether it may be run again.
    pub recovery: crate::effect::Recovery,
    /// It changes nothing in the world, so a read-only policy lets it run.
    pub read_only: bool,
    /// How long one run may take, in milliseconds.
    pub timeout_ms: u64,
    /// The sandbox it runs in; none for one that runs on the machine itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<crate::effect::sandbox::Sandboxed>,
}

/// A transcript entry with the digest that was made of it once, when it was added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The message.
    pub message: Message,
    /// [`Message::digest`] of it.
    pub digest: Digest,
}

impl Entry {
    /// Wraps a message, making its digest.
    pub fn new(message: Message) -> Arc<Entry> {
        let digest = message.digest();
        Arc::new(Entry { message, digest })
    }
}

/// Everything that one model call says. Cheap to clone: it shares the transcript's entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// The model's name as the provider knows it.
    pub model: Arc<str>,
    /// The system prompt.
    pub system: Arc<str>,
    /// The tools on offer.
    pub tools: Arc<[ToolSpec]>,
    /// The window of the transcript that fits, oldest first.
    pub messages: Vec<Arc<Entry>>,
    /// How many of its pictures the model is shown, the latest ones; of the rest it reads alone.
    pub shown: usize,
}

impl Prompt {
    /// The pictures that the model is shown, the latest first.
    pub fn pictures(&self) -> impl Iterator<Item = &Picture> {
        let latest = self.messages.iter().rev();
        let pictures = latest.flat_map(|entry| match &entry.message {
            Message::Tool { pictures, .. } => pictures.as_slice(),
            _ => &[],
        });
        pictures.take(self.shown)
    }
}
