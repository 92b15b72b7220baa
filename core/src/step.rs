//! One step: an input goes in, facts come out.
//!
//! `step` routes cues between the machines until nothing more follows. A machine decides, the
//! state evolves by each record at once, and the record says which machine is to look next. No
//! machine calls another. A step touches one session at the most, which is what lets one session
//! be exported and replayed alone (law 11): a boot only marks what is to be recovered, and each
//! tick handles one timer.

mod cue;
mod input;
mod job;
mod sandbox;
mod show;

use crate::effect::deliver::End;
use crate::effect::model::ModelFault;
use crate::effect::sandbox::{SandboxFault, UseSandbox};
use crate::effect::{Op, Outcome, tool};
use crate::hint::Hint;
use crate::id::{ApprovalId, Attempt, EffectId, Seq, SessionId, TurnId};
use crate::input::Input;
use crate::message::{Picture, Prompt};
use crate::record::{Accepted, Command, Record, TurnEnd, Verdict};
use crate::state::State;
use crate::time::Time;
use crate::timer::Timer;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

/// The daemon's mind.
#[derive(Clone, Debug, Default)]
pub struct Core {
    pub(crate) state: State,
}

/// What a step decided. The shell commits [`Step::records`] and hands the step to the
/// [`crate::gate::Gate`].
#[derive(Debug)]
#[must_use = "a step that is not committed is lost, and the state is ahead of the journal"]
pub struct Step {
    /// The step's position. A step without records takes none, and shares its number with the
    /// next step.
    pub seq: Seq,
    /// When it was taken.
    pub at: Time,
    /// The one session it touches.
    pub session: Option<SessionId>,
    /// What was decided, in order. Empty: nothing to commit.
    pub records: Vec<Record>,
    pub(crate) hints: Vec<Hint>,
    pub(crate) prompts: Vec<(EffectId, Prompt)>,
}

impl Step {
    /// Nothing came of the input.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.hints.is_empty()
    }
}

impl Core {
    /// A core whose journal is empty.
    pub fn new() -> Core {
        Core::default()
    }

    /// Takes one input. `at` is the moment; an earlier one than the last step's counts as that.
    pub fn step(&mut self, at: Time, input: Input) -> Step {
        self.step_at(self.state.seq.next(), at, input)
    }

    /// The same, at a position that a journal gives: one session's export has gaps.
    pub(crate) fn step_at(&mut self, seq: Seq, at: Time, input: Input) -> Step {
        let mut stepping = Stepping {
            state: &mut self.state,
            cues: VecDeque::new(),
            intended: 0,
            step: Step {
                seq,
                at,
                session: None,
                records: Vec::new(),
                hints: Vec::new(),
                prompts: Vec::new(),
            },
        };
        stepping.step.at = at.max(stepping.state.at);
        stepping.take(input);
        stepping.settle();
        stepping.step
    }

    /// The earliest timer, and when it is due: the next moment for an [`Input::Tick`].
    pub fn deadline(&self) -> Option<(Time, Timer)> {
        self.state.deadline()
    }

    /// The state, to look at.
    pub fn state(&self) -> &State {
        &self.state
    }
}

/// A word from one machine to the next: look at this.
#[derive(Debug)]
enum Cue {
    /// A person's command to the daemon, and who they are.
    Obey(SessionId, Command, End, String),
    /// The daemon answers a command itself.
    Tell(SessionId, String, End),
    /// Is there a turn to begin?
    Begin(SessionId),
    /// A round is to begin.
    Ask(SessionId),
    /// The model is to be called.
    Call(SessionId),
    /// The model has replied.
    Judge(SessionId),
    /// A person is to be asked about a call.
    Seek(SessionId, u16, String),
    /// A call may run.
    Run(SessionId, u16),
    /// A person said yes to a call.
    Granted(SessionId, ApprovalId),
    /// A call has come to its result, or the turn to its reply.
    Advance(SessionId),
    /// A call of this turn has made pictures.
    Picture(SessionId, TurnId, Vec<Picture>),
    /// This use of a sandbox has come to its end, with this fault if it failed.
    Sandbox(UseSandbox, Option<SandboxFault>),
    /// A model call has failed for good.
    Fail(SessionId, EffectId, ModelFault, Attempt),
    /// A turn has ended.
    Close(SessionId, Option<TurnId>, TurnEnd, Vec<End>),
    /// Is there something to deliver?
    Flush(SessionId),
}

impl Cue {
    /// A message was accepted.
    fn take_up(accepted: &Accepted) -> Cue {
        let Some(command) = accepted.command else {
            return Cue::Begin(accepted.session);
        };
        let end = End {
            message: accepted.message,
            origin: accepted.origin.clone(),
            key: accepted.key.clone(),
        };
        Cue::Obey(accepted.session, command, end, accepted.peer.clone())
    }
}

/// What an effect was, before a record ended it.
struct Was {
    /// Which try of it came to the end.
    tries: Attempt,
    /// What it did with which sandbox.
    used: Option<UseSandbox>,
    /// For which turn.
    turn: Option<TurnId>,
}

/// Who is to look at the outcome of an effect.
fn settled(
    session: SessionId,
    effect: EffectId,
    outcome: &Outcome,
    was: Option<Was>,
) -> Option<Cue> {
    match (outcome, was?) {
        (Outcome::Tool(_), _) => Some(Cue::Advance(session)),
        (Outcome::Deliver(_), _) => Some(Cue::Flush(session)),
        (Outcome::Model(Err(fault)), was) => {
            Some(Cue::Fail(session, effect, fault.clone(), was.tries))
        }
        (Outcome::Sandbox(outcome), was) => {
            let fault = outcome.as_ref().err().cloned();
            was.used.map(|used| Cue::Sandbox(used, fault))
        }
        (Outcome::Model(Ok(_)) | Outcome::Cancel(_), _) => None,
    }
}

/// A step being made.
struct Stepping<'a> {
    state: &'a mut State,
    cues: VecDeque<Cue>,
    intended: u16,
    step: Step,
}

impl Stepping<'_> {
    /// Records a fact: the state evolves by it, and whoever is concerned gets a cue.
    fn record(&mut self, record: Record) {
        let session = record.session();
        debug_assert!(
            self.step.session.is_none() || session.is_none() || self.step.session == session,
            "a step touches one session"
        );
        self.step.session = self.step.session.or(session);
        // What was settled is known only until the record has settled it.
        let was = self.settled_by(&record);
        self.withdraw(&record);
        self.state.evolve(self.step.seq, self.step.at, &record);
        self.hint(&record);
        self.cue(&record, was);
        self.step.records.push(record);
    }

    fn record_all(&mut self, records: impl IntoIterator<Item = Record>) {
        for record in records {
            self.record(record);
        }
    }

    fn settled_by(&self, record: &Record) -> Option<Was> {
        let (Record::Settled { effect, .. } | Record::Doubted { effect, .. }) = record else {
            return None;
        };
        let effect = self.state.intents.get(*effect)?;
        Some(Was {
            tries: effect.attempt,
            used: match &effect.op {
                Op::Sandbox(used) => Some(used.clone()),
                _ => None,
            },
            turn: effect.turn(),
        })
    }

    /// Who is to look next.
    fn cue(&mut self, record: &Record, was: Option<Was>) {
        let cue = match record {
            Record::Accepted(accepted) => Cue::take_up(accepted),
            Record::TurnBegan { session, .. } => Cue::Ask(*session),
            Record::Asked { session, .. } => Cue::Call(*session),
            Record::Answered { session, .. } => Cue::Judge(*session),
            Record::Judged {
                session,
                call,
                verdict,
            } => match verdict {
                Verdict::Allow { .. } => Cue::Run(*session, *call),
                Verdict::Ask { reason } => Cue::Seek(*session, *call, reason.clone()),
                Verdict::Deny { .. } | Verdict::Invalid { .. } => Cue::Advance(*session),
            },
            Record::Decided {
                session,
                approval,
                answer,
            } => match answer {
                answer if answer.is_yes() => Cue::Granted(*session, *approval),
                _ => Cue::Advance(*session),
            },
            Record::Doubted { session, .. } => {
                let used = was.and_then(|was| was.used);
                let removal = used.map(|used| Cue::Sandbox(used, None));
                self.cues.extend(removal);
                Cue::Advance(*session)
            }
            Record::Served { session, .. } => Cue::Advance(*session),
            Record::Settled {
                session,
                effect,
                outcome,
            } => {
                self.exhibit(*session, outcome, was.as_ref());
                match settled(*session, *effect, outcome, was) {
                    Some(cue) => cue,
                    None => return,
                }
            }
            Record::TurnEnded {
                session,
                turn,
                end,
                ends,
            } => Cue::Close(*session, *turn, end.clone(), ends.clone()),
            Record::Queued { session, .. } => Cue::Flush(*session),
            Record::Booted { .. }
            | Record::Opened { .. }
            | Record::Moved { .. }
            | Record::Refused { .. }
            | Record::Refreshed { .. }
            | Record::Admitted { .. }
            | Record::Expelled { .. }
            | Record::ClockSet { .. }
            | Record::Learned { .. }
            | Record::JobAdded { .. }
            | Record::JobRemoved { .. }
            | Record::JobArmed { .. }
            | Record::JobFired { .. }
            | Record::JobMissed { .. }
            | Record::Joined { .. }
            | Record::Intended(_)
            | Record::Heard { .. }
            | Record::Postponed { .. }
            | Record::Sought(_) => return,
        };
        self.cues.push_back(cue);
    }

    /// What the outcome of an effect shows to people.
    fn exhibit(&mut self, session: SessionId, outcome: &Outcome, was: Option<&Was>) {
        let most = self.state.settings.limits.pictures;
        if let Outcome::Tool(ran) = outcome
            && let pictures @ [_, ..] = tool::pictures(ran, most)
            && let Some(turn) = was.and_then(|was| was.turn)
        {
            let pictures = pictures.to_vec();
            self.cues.push_back(Cue::Picture(session, turn, pictures));
        }
    }

    /// Follows cues until none is left. It ends: a cue moves a turn forward, or does nothing.
    fn settle(&mut self) {
        while let Some(cue) = self.cues.pop_front() {
            match cue {
                Cue::Obey(session, command, end, by) => self.obey(session, command, end, &by),
                Cue::Tell(session, text, end) => self.tell(session, text, end),
                Cue::Begin(session) => {
                    let records = self.state.turns.begin(session, self.step.seq);
                    self.record_all(records);
                }
                Cue::Ask(session) => {
                    let records = self.state.turns.ask(session);
                    self.record_all(records);
                }
                Cue::Call(session) => self.call_model(session),
                Cue::Judge(session) => self.judge(session),
                Cue::Seek(session, call, reason) => self.seek(session, call, reason),
                Cue::Run(session, call) => self.run_tool(session, call, None),
                Cue::Granted(session, approval) => self.granted(session, approval),
                Cue::Advance(session) => self.advance(session),
                Cue::Picture(session, turn, pictures) => self.picture(session, turn, pictures),
                Cue::Sandbox(used, fault) => self.sandbox_settled(used, fault),
                Cue::Fail(session, effect, fault, attempt) => {
                    self.fail(session, effect, &fault, attempt);
                }
                Cue::Close(session, turn, end, ends) => self.close(session, turn, end, ends),
                Cue::Flush(session) => self.flush(session),
            }
        }
    }
}
