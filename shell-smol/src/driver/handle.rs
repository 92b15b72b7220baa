//! What sources of inputs hold of the loop: the way to tell it something, and to ask.

use super::{Ask, INPUTS, Leave};
use crate::metrics::Moment;
use async_channel::{Receiver, Sender};
use openpista_core::digest::Digest;
use openpista_core::effect::deliver::Question;
use openpista_core::id::{ApprovalId, EffectId};
use openpista_core::input::{Decision, Input, Order};
use openpista_core::record::Answer;
use openpista_core::refusal::Refusal;

/// What a source of inputs holds.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) inputs: Sender<Input>,
    pub(super) leave: Sender<Leave>,
    pub(super) asks: Sender<Ask>,
}

/// Whom a task's token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bearer {
    /// The task that is running as this effect.
    Runs(EffectId),
    /// A task that has reported already.
    Reported,
}

/// The other end of a [`Handle`] that leads elsewhere than to a loop in this process.
#[derive(Debug)]
pub(crate) struct FarEnd {
    /// What the front end says.
    pub(crate) inputs: Receiver<Input>,
    /// How it wants to leave.
    pub(crate) leave: Receiver<Leave>,
}

impl Handle {
    /// A handle, and what comes out at its other end. Nobody answers [`Handle::questions`] there.
    pub(crate) fn to_elsewhere() -> (Handle, FarEnd) {
        let (inputs, far_inputs) = async_channel::bounded(INPUTS);
        let (leave, far_leave) = async_channel::unbounded();
        let (asks, _) = async_channel::bounded(1);
        let handle = Handle {
            inputs,
            leave,
            asks,
        };
        let far = FarEnd {
            inputs: far_inputs,
            leave: far_leave,
        };
        (handle, far)
    }

    /// Hands an input to the loop. Waits while too many wait already; an input after the end of
    /// the loop is lost, as it would have been a moment later.
    pub async fn send(&self, input: Input) {
        let _ = self.inputs.send(input).await;
    }

    /// Hands the loop an input that may be lost, which it is when too many wait.
    pub(crate) fn offer(&self, input: Input) {
        let _ = self.inputs.try_send(input);
    }

    /// Whose task the token of this digest is for, if it is a task's; none when the loop is over, so
    /// that nobody knows.
    pub async fn bearer(&self, token: Digest) -> Option<Option<Bearer>> {
        let (answer, answered) = async_channel::bounded(1);
        let _ = self.asks.send(Ask::Bearer(token, answer)).await;
        answered.recv().await.ok()
    }

    /// The questions that a session has open, oldest first. What was sent before is in the answer,
    /// and durable. None when the loop is over.
    pub async fn questions(&self, session: &str) -> Vec<Question> {
        let (answer, answered) = async_channel::bounded(1);
        let ask = Ask::Questions(session.to_owned(), answer);
        let _ = self.asks.send(ask).await;
        answered.recv().await.unwrap_or_default()
    }

    /// Answers a question. What it came to by that, which is durable; none when it was not open any
    /// more, or not theirs to answer, or the loop is over.
    pub async fn decide(
        &self,
        approval: ApprovalId,
        decision: Decision,
        by: &str,
    ) -> Option<Answer> {
        let (answer, answered) = async_channel::bounded(1);
        let order = Order::Decide {
            approval,
            decision,
            by: by.to_owned(),
        };
        let _ = self.asks.send(Ask::Decide(approval, order, answer)).await;
        answered.recv().await.ok()
    }

    /// Whether a message of this peer, a `channel:user`, would be looked at; none at the end of
    /// the loop.
    pub async fn may_speak(&self, peer: &str) -> Option<bool> {
        let (answer, answered) = async_channel::bounded(1);
        let ask = Ask::MaySpeak(peer.to_owned(), answer);
        let _ = self.asks.send(ask).await;
        answered.recv().await.ok()
    }

    /// Why an order would not be carried out, if whoever gives it has no right to. The core looks
    /// again when the order comes: this is for telling them.
    pub async fn objection(&self, order: &Order) -> Option<Refusal> {
        let (answer, answered) = async_channel::bounded(1);
        let ask = Ask::Objection(order.clone(), answer);
        let _ = self.asks.send(ask).await;
        answered.recv().await.ok().flatten()
    }

    /// Has removed, while the loop goes on, what is in Docker under this journal's name and nobody
    /// owns.
    pub async fn sweep(&self) {
        let _ = self.asks.send(Ask::Sweep).await;
    }

    /// How much waits and goes on; none at the end of the loop.
    pub async fn moment(&self) -> Option<Moment> {
        let (answer, answered) = async_channel::bounded(1);
        let _ = self.asks.send(Ask::Moment(answer)).await;
        answered.recv().await.ok()
    }

    /// Asks the loop to end. May be asked again, with less patience.
    pub fn leave(&self, leave: Leave) {
        let _ = self.leave.try_send(leave);
    }
}
