//! OpenAI-compatible chat completions, as dozens of servers speak them.
//!
//! It owns the JSON both ways: a [`crate::message::Prompt`] becomes a request, a response becomes
//! a [`crate::effect::model::Reply`] or a [`crate::effect::model::ModelFault`], whole or streamed.
//! It never decides about retries, and never judges a tool call: what a model wrote is handed on
//! as it is, and only made addressable (names, unique ids).
//!
//! What servers really send differs from the documentation, so everything is read leniently: a
//! field of an unexpected type counts as absent. What cannot be a reply at all is a fault.

mod draft;
mod fault;
mod names;
mod reply;
mod request;
mod stream;

pub use fault::decode_fault;
pub use names::Names;
pub use reply::decode_reply;
pub use request::encode_request;
pub use stream::ReplyStream;
