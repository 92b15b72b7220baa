//! Approvals: questions to people. Each is bound to the digest of the exact arguments, is answered
//! once, and expires into a denial (law 13). A turn's end withdraws its questions.

use crate::effect::Op;
use crate::effect::deliver::Question;
use crate::id::{ApprovalId, SessionId};
use crate::record::{Answer, Record, Sought};
use crate::time::Time;
use alloc::collections::BTreeMap;
use serde::{Deserialize, Serialize};

/// The open questions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Approvals {
    open: BTreeMap<ApprovalId, Sought>,
    /// What was allowed and has not been used yet: the permission that a tool's intent consumes.
    granted: BTreeMap<ApprovalId, Sought>,
}

impl Approvals {
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

    /// The next question to expire.
    pub(crate) fn deadline(&self) -> Option<(Time, ApprovalId)> {
        self.open.iter().map(|(id, s)| (s.expires_at, *id)).min()
    }

    pub(crate) fn evolve(&mut self, record: &Record) {
        match record {
            Record::Sought(sought) => {
                self.open.insert(sought.approval, sought.clone());
            }
            Record::Decided {
                approval, answer, ..
            } => {
                let sought = self.open.remove(approval);
                if let (Some(sought), Answer::Allowed(_)) = (sought, answer) {
                    self.granted.insert(*approval, sought);
                }
            }
            Record::Intended(effect) => {
                if let Op::Tool(run) = &effect.op {
                    let used = |s: &Sought| s.session == run.session && s.call == run.call;
                    self.granted.retain(|_, s| !used(s));
                }
            }
            Record::TurnEnded { session, .. } => {
                self.open.retain(|_, s| s.session != *session);
                self.granted.retain(|_, s| s.session != *session);
            }
            _ => {}
        }
    }
}
