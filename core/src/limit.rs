//! Every bound in one place (law 18). What overflows is refused aloud, never dropped.

use serde::{Deserialize, Serialize};

/// The bounds in force. They are part of [`crate::settings::Settings`], so they are journaled with
/// each boot and a replay applies the ones that held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Rounds of tool calls in one turn.
    pub max_tool_rounds: u16,
    /// Tool calls in one reply of the model; further ones are answered with an error.
    pub calls_per_round: u16,
    /// Messages that may wait in a session while a turn runs.
    pub queued_messages: usize,
    /// Deliveries that may wait in a session for one channel; at the bound, new messages over that
    /// channel are refused.
    pub queued_deliveries: usize,
    /// Sessions.
    pub sessions: usize,
    /// Idempotency keys remembered for each origin.
    pub keys: usize,
    /// Bytes of one message of a person.
    pub message_bytes: usize,
    /// Bytes of one reply of the model; what is beyond is cut with a mark.
    pub reply_bytes: usize,
    /// Bytes of transcript that a prompt carries.
    pub context_bytes: usize,
    /// Transcript entries that a prompt carries.
    pub context_messages: usize,
    /// Bytes that one turn may add to the transcript before it is ended.
    pub turn_bytes: usize,
    /// How long one turn may take, in milliseconds, waiting for people included.
    pub turn_ms: u64,
    /// Tries of one model call.
    pub model_attempts: u16,
    /// Tries of one delivery.
    pub deliver_attempts: u16,
    /// How long one model call may take, in milliseconds.
    pub model_timeout_ms: u64,
    /// How long one delivery may take, in milliseconds.
    pub deliver_timeout_ms: u64,
    /// How much later than its own timeout an effect may report before it counts as lost, in
    /// milliseconds.
    pub grace_ms: u64,
    /// The first wait before a retry, in milliseconds; it doubles each time.
    pub backoff_ms: u64,
    /// The longest wait before a retry that we choose ourselves, in milliseconds.
    pub backoff_max_ms: u64,
    /// The longest wait before somebody who was not there is looked for again, in milliseconds;
    /// the waits double as others do. Whoever comes is shown what waits at once.
    pub absent_max_ms: u64,
    /// The longest wait that a provider may ask for, in milliseconds; beyond it the turn ends.
    pub retry_after_max_ms: u64,
    /// How long a question to a person stays open, in milliseconds.
    pub approval_ms: u64,
    /// Jobs on the schedule of one session.
    pub jobs: usize,
    /// Calls that a person allowed for a whole session, for each session; the oldest are forgotten.
    pub grants: usize,
    /// People that were let in beside those whom the configuration names.
    pub guests: usize,
    /// Sandboxes of one session, those that are being removed included.
    pub sandboxes: usize,
    /// How long making a sandbox may take, in milliseconds; an image may have to be fetched.
    pub sandbox_create_ms: u64,
    /// How long removing a sandbox may take, in milliseconds.
    pub sandbox_destroy_ms: u64,
    /// Skills.
    pub skills: usize,
    /// Bytes of one skill; a larger one is left out.
    pub skill_bytes: usize,
    /// Bytes of skills that every prompt carries; of the rest it carries names and descriptions.
    pub skills_bytes: usize,
    /// Pictures of one result, and as many of the latest that a prompt shows.
    pub pictures: usize,
    /// How late a job may fire and still count as on time, in milliseconds.
    pub job_late_ms: u64,
    /// How often the same call may give the same result in one turn before the turn is ended.
    pub same_result: u16,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_tool_rounds: 10,
            calls_per_round: 16,
            queued_messages: 64,
            queued_deliveries: 256,
            sessions: 4096,
            keys: 1024,
            message_bytes: 100_000,
            reply_bytes: 200_000,
            context_bytes: 120_000,
            context_messages: 200,
            turn_bytes: 1_000_000,
            turn_ms: 3_600_000,
            model_attempts: 5,
            deliver_attempts: 1_000,
            model_timeout_ms: 300_000,
            deliver_timeout_ms: 30_000,
            grace_ms: 5_000,
            backoff_ms: 500,
            backoff_max_ms: 30_000,
            absent_max_ms: 3_600_000,
            retry_after_max_ms: 300_000,
            approval_ms: 600_000,
            jobs: 64,
            grants: 64,
            guests: 256,
            sandboxes: 64,
            sandbox_create_ms: 600_000,
            sandbox_destroy_ms: 30_000,
            skills: 256,
            skill_bytes: 100_000,
            skills_bytes: 24_000,
            pictures: 2,
            job_late_ms: 60_000,
            same_result: 3,
        }
    }
}
