//! The codecs, through their public face (law 19): what servers and peers are known to send, and
//! properties over what they might.

mod frame;
mod openai;
mod property;
mod request;
mod sse;
mod support;
