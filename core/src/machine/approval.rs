//! Approvals: questions to people. Each is bound to the digest of the exact arguments, is answered
//! once, and expires into a denial (law 13). A turn's end withdraws its questions.

use crate::digest::Digest;
use crate::effect::Op;
use crate::effect::deliver::Question;
use crate::id::{ApprovalId, SessionId};
use crate::limit::Limits;
use crate::record::{Answer, Record, Sought};
use crate::time::Time;
use alloc::collections::{BTreeMap, VecDeque};
use serde::{Deserialize, Serialize};

/// The open questions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Approvals {
    open: BTreeMap<ApprovalId, Sought>,
    /// What was allowed and has not been used yet: the permission that a tool's intent consumes.
    granted: BTreeMap<ApprovalId, Sought>,
    /// The calls that a person allowed for a whole session, the latest last.
    standing: BTreeMap<SessionId, VecDeque<Digest>>,
}

impl Approvals {
    /// How many questions wait for a person.
    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }

    /// A person's answer; none when the question is not open.
    pub(crate) fn decide(&self, approval: ApprovalId, answer: Answer) -> Option<Record> {
        let sought = self.open.get(&approval)?;
        Some(Record::Decided {
            session: sought.session,
            approval,
            answer,
        })
    }

    /// What a person said yes to, until it is used.
    pub(crate) fn granted(&self, approval: ApprovalId) -> Option<&Sought> {
        self.granted.get(&approval)
    }

    /// A person has allowed this exact call for the rest of the session.
    pub(crate) fn stands(&self, session: SessionId, digest: &Digest) -> bool {
        let standing = self.standing.get(&session);
        standing.is_some_and(|digests| digests.contains(digest))
    }

    /// The questions that a session has open, oldest first.
    pub(crate) fn questions(&self, session: SessionId) -> impl Iterator<Item = &Question> {
        let open = self.open.values();
        open.filter(move |s| s.session == session)
            .map(|s| &s.question)
    }

    /// How many questions a session has open.
    pub(crate) fn waiting(&self, session: SessionId) -> usize {
        self.questions(session).count()
    }

    /// The session that a question is open in.
    pub(crate) fn session(&self, approval: ApprovalId) -> Option<SessionId> {
        self.open.get(&approval).map(|sought| sought.session)
    }

    /// When a question expires.
    pub(crate) fn due(&self, approval: ApprovalId) -> Option<Time> {
        self.open.get(&approval).map(|sought| sought.expires_at)
    }

    /// The next question to expire.
    pub(crate) fn deadline(&self) -> Option<(Time, ApprovalId)> {
        self.open.iter().map(|(id, s)| (s.expires_at, *id)).min()
    }

    pub(crate) fn evolve(&mut self, limits: &Limits, record: &Record) {
        match record {
            Record::Sought(sought) => {
                self.open.insert(sought.approval, sought.clone());
            }
            Record::Decided {
                approval, answer, ..
            } => {
                let Some(sought) = self.open.remove(approval) else {
                    return;
                };
                if let Answer::AllowedForSession(_) = answer {
                    let standing = self.standing.entry(sought.session).or_default();
                    if !standing.contains(&sought.digest) {
                        standing.push_back(sought.digest);
                    }
                    if standing.len() > limits.grants {
                        standing.pop_front();
                    }
                }
                if answer.is_yes() {
                    self.granted.insert(*approval, sought);
                }
            }
            Record::Intended(effect) => match &effect.op {
                Op::Tool(run) => self.used(run.session, run.call),
                Op::Sandbox(used) => self.used(used.session, used.call),
                Op::Model(_) | Op::Deliver(_) | Op::Cancel(_) => {}
            },
            Record::Served { session, call, .. } => self.used(*session, *call),
            Record::Refreshed { session } => {
                self.standing.remove(session);
            }
            Record::TurnEnded {
                session,
                turn: Some(_),
                ..
            } => {
                self.open.retain(|_, s| s.session != *session);
                self.granted.retain(|_, s| s.session != *session);
            }
            _ => {}
        }
    }

    /// A permission is used up by the call that it was for.
    fn used(&mut self, session: SessionId, call: u16) {
        let used = |s: &Sought| s.session == session && s.call == call;
        self.granted.retain(|_, s| !used(s));
    }
}
