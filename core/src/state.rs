//! The whole state: what each machine remembers, the rules in force, and the position in the
//! journal. It changes by `State::evolve` alone, and equal states give equal bytes (law 7).

use crate::depth::Depths;
use crate::digest::Digest;
use crate::effect::deliver::{Body, Question};
use crate::effect::sandbox::Engine;
use crate::id::{EffectId, SandboxId, Seq, SessionId};
use crate::input::Order;
use crate::machine::approval::Approvals;
use crate::machine::intent::Intents;
use crate::machine::outbox::Outbox;
use crate::machine::router::{Load, Router};
use crate::machine::sandbox::{Bearer, Sandboxes};
use crate::machine::schedule::Schedule;
use crate::machine::skill::Skills;
use crate::machine::turn::Turns;
use crate::message::{Prompt, ToolSpec};
use crate::record::Record;
use crate::refusal::Refusal;
use crate::say;
use crate::settings::Settings;
use crate::skill::Skill;
use crate::time::Time;
use crate::timer::Timer;
use alloc::boxed::Box;
use alloc::string::String;
use serde::{Deserialize, Serialize};

/// Everything that the core remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub(crate) seq: Seq,
    pub(crate) at: Time,
    pub(crate) settings: Box<Settings>,
    pub(crate) router: Router,
    pub(crate) turns: Turns,
    pub(crate) approvals: Approvals,
    pub(crate) intents: Intents,
    pub(crate) outbox: Outbox,
    pub(crate) schedule: Schedule,
    pub(crate) sandboxes: Sandboxes,
    pub(crate) skills: Skills,
}

impl State {
    /// The last step that left records.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// When that was.
    pub fn at(&self) -> Time {
        self.at
    }

    /// The session of that name.
    pub fn session(&self, name: &str) -> Option<SessionId> {
        self.router.session(name)
    }

    /// The name of that session; empty when there is none.
    pub fn session_name(&self, session: SessionId) -> &str {
        self.router.name(session)
    }

    /// Would a message of this peer be looked at at all?
    pub fn may_speak(&self, peer: &str) -> bool {
        self.router.may_speak(&self.settings, peer)
    }

    /// Why this order would not be carried out, if whoever gives it has no right to. Those whom
    /// the operator named have every right.
    pub fn objection(&self, order: &Order) -> Option<Refusal> {
        let (may, sentence) = match order {
            Order::Stop { session, by } => {
                let session = self.router.session(session);
                let may = session.is_none_or(|session| self.may_rule(session, by, by));
                (may && self.may_speak(by), say::not_theirs())
            }
            Order::Cancel { origin, key, by } => {
                let found = self.turns.find(origin, key, by);
                let may = |(session, own)| own || self.may_rule(session, by, by);
                let may = found.is_none_or(may);
                (may && self.may_speak(by), say::not_theirs())
            }
            Order::Decide { approval, by, .. } => {
                let session = self.approvals.session(*approval);
                let may = session.is_none_or(|session| self.may_rule(session, by, by));
                (may && self.may_speak(by), say::not_theirs_to_answer())
            }
            // The router knows who may let people in.
            Order::Admit { .. } | Order::Expel { .. } => (true, ""),
        };
        (!may).then(|| Refusal::Peer(String::from(sentence)))
    }

    /// May this peer, who writes from that origin, say what becomes of a session's turn? A guest
    /// may where they have a part in it: the turn answers a message of theirs, or goes on where
    /// they write from.
    pub(crate) fn may_rule(&self, session: SessionId, peer: &str, origin: &str) -> bool {
        self.settings.owners.contains(peer)
            || self.turns.answers(session, peer)
            || self.router.session(origin) == Some(session)
            || self.turns.origins(session).iter().any(|of| of == origin)
    }

    /// How many effects of a session are open, those that wait for another try included.
    pub fn open_effects(&self, session: SessionId) -> usize {
        self.intents.open_in(session)
    }

    /// The questions of a session that wait for a person, oldest first. A front end that comes
    /// after they were asked shows them again.
    pub fn questions(&self, session: SessionId) -> impl Iterator<Item = &Question> {
        self.approvals.questions(session)
    }

    /// The sandboxes that stand, or may, and what each is made of. What else an engine finds under
    /// our name is nobody's.
    pub fn sandboxes(&self) -> impl Iterator<Item = (SandboxId, Engine)> {
        self.sandboxes.ids()
    }

    /// The token of this digest is a task's that is running, or that has been heard and may not
    /// know it yet: it may say so again.
    pub fn is_bearer(&self, token: &Digest) -> bool {
        self.sandboxes.bearer(token).is_some()
    }

    /// The task that bears the token of this digest is running as this effect. None for a token
    /// that is nobody's, or was used up or revoked.
    pub fn bearer(&self, token: &Digest) -> Option<EffectId> {
        match self.sandboxes.bearer(token)? {
            Bearer::Runs(_, _, effect) => Some(effect),
            Bearer::Heard => None,
        }
    }

    /// The tools on offer, those of the skills included.
    pub fn tools(&self) -> &[ToolSpec] {
        &self.skills.offer().tools
    }

    /// The skills that are known, in the order of their names.
    pub fn skills(&self) -> &[Skill] {
        self.skills.known()
    }

    /// How much there is of what comes and goes.
    pub fn depths(&self) -> Depths {
        let mut depths = Depths {
            sessions: self.router.sessions(),
            questions: self.approvals.open(),
            effects: self.intents.open(),
            deliveries: self.outbox.depth(),
            ..Depths::default()
        };
        (depths.turns, depths.messages) = self.turns.depth();
        for (engine, stage) in self.sandboxes.stages() {
            *depths.sandboxes.entry((engine, stage)).or_default() += 1;
        }
        depths
    }

    /// A turn of this session is live.
    pub fn is_busy(&self, session: SessionId) -> bool {
        self.turns.live(session).is_some()
    }

    /// Takes in a fact. Makes no choice.
    pub(crate) fn evolve(&mut self, seq: Seq, at: Time, record: &Record) {
        self.seq = seq;
        self.at = at;
        if let Record::Booted { settings, .. } = record {
            self.settings = settings.clone();
        }
        let limits = &self.settings.limits;
        self.router.evolve(&self.settings, record);
        self.turns.evolve(limits, at, record);
        self.approvals.evolve(limits, record);
        self.intents.evolve(limits, at, record);
        self.outbox.evolve(record);
        self.schedule.evolve(seq, at, record);
        self.sandboxes.evolve(record);
        self.skills.evolve(&self.settings, record);
    }

    /// The earliest timer.
    pub(crate) fn deadline(&self) -> Option<(Time, Timer)> {
        let intent = self.intents.deadline();
        let approval = self.approvals.deadline();
        let turn = self.turns.deadline();
        let approval = approval.map(|(at, id)| (at, Timer::Approval(id)));
        let turn = turn.map(|(at, id)| (at, Timer::Turn(id)));
        let job = self
            .schedule
            .deadline(self.settings.jobs_fire)
            .map(|(at, id)| (at, Timer::Job(id)));
        [intent, approval, turn, job].into_iter().flatten().min()
    }

    /// When that timer is due, if it runs.
    pub(crate) fn due(&self, timer: Timer) -> Option<Time> {
        match timer {
            Timer::Recover(_) | Timer::Retry(_) | Timer::Overdue(_) => self.intents.due(timer),
            Timer::Approval(approval) => self.approvals.due(approval),
            Timer::Turn(session) => self.turns.due(session),
            Timer::Job(job) => self.schedule.due(self.settings.jobs_fire, job),
        }
    }

    /// What waits in a session, and what of it is to be shown over that channel.
    pub(crate) fn load(&self, session: SessionId, origin: &str) -> Load {
        Load {
            messages: self.turns.waiting(session),
            deliveries: self.outbox.waiting(session, origin),
        }
    }

    /// This is a question that needs no answer any more: nobody is to be shown it.
    pub(crate) fn is_answered(&self, body: &Body) -> bool {
        match body {
            Body::Question(question) => self.approvals.due(question.approval).is_none(),
            Body::Reply(_) | Body::Failure(_) | Body::Notice(_) | Body::Picture(_) => false,
        }
    }

    /// What a model call of this session says now, and its digest.
    pub(crate) fn prompt(&self, session: SessionId) -> Option<(Prompt, Digest)> {
        let (messages, chain) = self.turns.window(session)?;
        let offer = self.skills.offer();
        let digest = Digest::of(&[&offer.digest?.0, &chain.0]);
        let prompt = Prompt {
            model: self.settings.model.clone(),
            system: offer.system.clone(),
            tools: offer.tools.clone(),
            messages,
            shown: match self.settings.images {
                true => self.settings.limits.pictures,
                false => 0,
            },
        };
        Some((prompt, digest))
    }
}
