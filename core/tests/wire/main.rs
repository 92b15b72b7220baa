//! The codecs, through their public face (law 19): what servers and peers are known to send, and
//! properties over what they might.

mod fault;
mod frame;
mod reply;
mod reply_law;
mod request;
mod skill;
mod sse;
mod support;
