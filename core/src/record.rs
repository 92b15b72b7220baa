//! The facts. A step's records are all that the journal needs to rebuild the state: folding them
//! decides nothing (laws 7 and 9), so a later version restores what an earlier one wrote.

use crate::digest::Digest;
use crate::effect::deliver::{Body, End, Question};
use crate::effect::model::Reply;
use crate::effect::{Effect, Outcome};
use crate::id::{ApprovalId, Attempt, EffectId, JobId, MessageId, SandboxId, SessionId, TurnId};
use crate::refusal::Refusal;
use crate::settings::{JobSpec, Settings};
use crate::skill::Skill;
use crate::time::Time;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Something that was decided, and from now on is so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// The program started; every effect that was open is now to be recovered.
    Booted {
        /// The rules from here on.
        settings: Box<Settings>,
        /// The wall clock at this step: milliseconds since 1970 in UTC.
        unix_ms: u64,
    },
    /// A session exists from here on.
    Opened {
        /// Its identity.
        session: SessionId,
        /// Its name.
        name: String,
    },
    /// A session's conversation goes on under another name, and is known by both.
    Moved {
        /// Which session.
        session: SessionId,
        /// Its name so far.
        from: String,
        /// Its name from here on.
        to: String,
    },
    /// A message is ours now: it will reach exactly one visible end.
    Accepted(Accepted),
    /// A message of somebody we know was turned away, and its key is used up.
    Refused {
        /// The session it was for, when there is one.
        session: Option<SessionId>,
        /// The channel.
        origin: String,
        /// The channel's key.
        key: String,
        /// The channel's own rising number of it, if it has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        serial: Option<u64>,
        /// Why.
        refusal: Refusal,
    },
    /// Somebody was let in.
    Admitted {
        /// Whom.
        peer: String,
        /// By whom.
        by: String,
        /// The message that said so, if one did: its key is used up.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        asked: Option<Asked>,
    },
    /// Somebody was shut out again.
    Expelled {
        /// Whom.
        peer: String,
        /// By whom.
        by: String,
        /// The message that said so, if one did: its key is used up.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        asked: Option<Asked>,
    },
    /// The wall clock was found to show this.
    ClockSet {
        /// Milliseconds since 1970 in UTC.
        unix_ms: u64,
    },
    /// These are the skills from here on.
    Learned {
        /// All of them, in the order of their names.
        skills: Vec<Skill>,
    },
    /// A job is on the schedule.
    JobAdded {
        /// The session whose agent made it.
        session: SessionId,
        /// Its identity.
        job: JobId,
        /// What and when.
        spec: JobSpec,
    },
    /// A job is off the schedule.
    JobRemoved {
        /// The session whose agent removed it.
        session: SessionId,
        /// Which.
        job: JobId,
    },
    /// A job's next due time is known.
    JobArmed {
        /// The job's session, as far as it exists.
        session: Option<SessionId>,
        /// Which.
        job: JobId,
        /// When, in milliseconds since 1970 in UTC; none when it is never due again.
        due_unix_ms: Option<u64>,
    },
    /// A job was due and begins a turn, in the same step.
    JobFired {
        /// Which session.
        session: SessionId,
        /// Which.
        job: JobId,
        /// When it was due, in milliseconds since 1970 in UTC.
        due_unix_ms: u64,
    },
    /// A job was due while nobody was there, or while there was no room for it.
    JobMissed {
        /// The job's session, as far as it exists.
        session: Option<SessionId>,
        /// Which.
        job: JobId,
        /// When it was due, in milliseconds since 1970 in UTC.
        due_unix_ms: u64,
        /// Why it did not fire.
        reason: String,
    },
    /// The core itself answered a call.
    Served {
        /// Which session.
        session: SessionId,
        /// Which of the round's calls, from zero.
        call: u16,
        /// What the model reads.
        content: String,
    },
    /// The session forgot its transcript.
    Refreshed {
        /// Which session.
        session: SessionId,
    },
    /// A run of the agent loop began.
    TurnBegan {
        /// Which session.
        session: SessionId,
        /// Its identity.
        turn: TurnId,
    },
    /// The messages that waited joined the turn: its end is theirs.
    Joined {
        /// Which session.
        session: SessionId,
        /// Which messages, oldest first.
        messages: Vec<MessageId>,
    },
    /// A round began: the results so far are in the transcript and the model is to be called.
    Asked {
        /// Which session.
        session: SessionId,
        /// Which round of the turn, from 1.
        round: u16,
    },
    /// An effect may run, once this is durable. A further attempt repeats the id.
    Intended(Effect),
    /// A try failed in a way that passes.
    Postponed {
        /// Which session.
        session: SessionId,
        /// Which effect.
        effect: EffectId,
        /// Which try.
        attempt: Attempt,
        /// How it failed.
        outcome: Outcome,
        /// When it is tried again.
        retry_at: Time,
    },
    /// The model replied; its effect is settled.
    Answered {
        /// Which session.
        session: SessionId,
        /// Which effect.
        effect: EffectId,
        /// What it said.
        reply: Reply,
    },
    /// An effect ended, in any other way.
    Settled {
        /// Which session.
        session: SessionId,
        /// Which effect.
        effect: EffectId,
        /// How.
        outcome: Outcome,
    },
    /// An effect may or may not have happened, and will not be tried again.
    Doubted {
        /// Which session.
        session: SessionId,
        /// Which effect.
        effect: EffectId,
    },
    /// What runs in a sandbox has reported, and its token is used up.
    Heard {
        /// Which session.
        session: SessionId,
        /// Which sandbox.
        sandbox: SandboxId,
    },
    /// It was decided whether a call may run.
    Judged {
        /// Which session.
        session: SessionId,
        /// Which of the round's calls, from zero.
        call: u16,
        /// The decision.
        verdict: Verdict,
    },
    /// A person is to be asked.
    Sought(Sought),
    /// A question came to its single answer.
    Decided {
        /// Which session.
        session: SessionId,
        /// Which question.
        approval: ApprovalId,
        /// The answer.
        answer: Answer,
    },
    /// The turn is over, and the messages in it are at their end.
    TurnEnded {
        /// Which session.
        session: SessionId,
        /// Which turn; none when only waiting messages were dropped.
        turn: Option<TurnId>,
        /// How.
        end: TurnEnd,
        /// The messages that end with it, those that still waited included when it was stopped.
        ends: Vec<End>,
    },
    /// Something waits to be shown.
    Queued {
        /// Which session.
        session: SessionId,
        /// Over which channel.
        origin: String,
        /// What.
        body: Body,
        /// The messages whose visible end it is.
        ends: Vec<End>,
    },
}

/// A message to the daemon alone, which belongs to no session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The channel it came over.
    pub origin: String,
    /// The channel's key.
    pub key: String,
    /// The channel's own rising number of it, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<u64>,
}

/// A message that was taken in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Which session.
    pub session: SessionId,
    /// Its identity.
    pub message: MessageId,
    /// The channel it came over.
    pub origin: String,
    /// The channel's key.
    pub key: String,
    /// Who wrote.
    pub peer: String,
    /// Their words.
    pub text: String,
    /// The channel's own rising number of it, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<u64>,
    /// No person wrote it: a job that the agent itself made. A command in it has nobody's yes.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub by_agent: bool,
    /// The words are a command to the daemon, not for the model.
    pub command: Option<Command>,
}

/// What a person can type to the daemon itself, in any channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// `/help`
    Help,
    /// `/new`: stop, and start with an empty transcript.
    New,
    /// `/stop`: end the turn, drop what waits.
    Stop,
    /// `/status`
    Status,
}

/// May a call run?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Yes.
    Allow {
        /// By which rule.
        reason: String,
    },
    /// If a person says so.
    Ask {
        /// Why they are asked.
        reason: String,
    },
    /// No, and the model is told why.
    Deny {
        /// Why not.
        reason: String,
    },
    /// It cannot run at all, and the model is told why.
    Invalid {
        /// What is wrong with the call.
        reason: String,
    },
}

/// A question to a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sought {
    /// Which session.
    pub session: SessionId,
    /// The turn that waits.
    pub turn: TurnId,
    /// Which of the round's calls, from zero.
    pub call: u16,
    /// The question's identity.
    pub approval: ApprovalId,
    /// The digest of the tool and its exact arguments.
    pub digest: Digest,
    /// What is shown.
    pub question: Question,
    /// When silence becomes a denial.
    pub expires_at: Time,
}

/// What a question came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Yes, of this person.
    Allowed(String),
    /// Yes, of this person, to this exact call for the rest of the session.
    AllowedForSession(String),
    /// No, of this person.
    Denied(String),
    /// Nobody said anything in time: a denial.
    Expired,
}

/// How a turn ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurnEnd {
    /// With the model's reply.
    Replied(String),
    /// With an error that says what happened and what to do.
    Failed(String),
    /// A person stopped it.
    Stopped,
}

impl Answer {
    /// The call may run.
    pub fn is_yes(&self) -> bool {
        matches!(self, Answer::Allowed(_) | Answer::AllowedForSession(_))
    }
}

impl Record {
    /// What that question came to, if this says so.
    pub fn answer_to(&self, question: ApprovalId) -> Option<&Answer> {
        match self {
            Record::Decided {
                approval, answer, ..
            } => (*approval == question).then_some(answer),
            _ => None,
        }
    }

    /// The one session that this is about; none for what is about all.
    pub fn session(&self) -> Option<SessionId> {
        match self {
            Record::Booted { .. }
            | Record::Admitted { .. }
            | Record::Expelled { .. }
            | Record::ClockSet { .. }
            | Record::Learned { .. } => None,
            Record::Refused { session, .. }
            | Record::JobArmed { session, .. }
            | Record::JobMissed { session, .. } => *session,
            Record::Accepted(accepted) => Some(accepted.session),
            Record::Intended(effect) => Some(effect.session()),
            Record::Sought(sought) => Some(sought.session),
            Record::Opened { session, .. }
            | Record::Moved { session, .. }
            | Record::JobAdded { session, .. }
            | Record::JobRemoved { session, .. }
            | Record::JobFired { session, .. }
            | Record::Served { session, .. }
            | Record::Refreshed { session }
            | Record::TurnBegan { session, .. }
            | Record::Joined { session, .. }
            | Record::Asked { session, .. }
            | Record::Postponed { session, .. }
            | Record::Answered { session, .. }
            | Record::Settled { session, .. }
            | Record::Doubted { session, .. }
            | Record::Heard { session, .. }
            | Record::Judged { session, .. }
            | Record::Decided { session, .. }
            | Record::TurnEnded { session, .. }
            | Record::Queued { session, .. } => Some(*session),
        }
    }
}
