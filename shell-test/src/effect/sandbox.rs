//! Pretends `core/src/effect/sandbox.rs`: three engines, and what really stands in them.
//!
//! A container goes on when the program dies, and ends at its own time; a guest and a process die
//! with it. A worker knocks with its report until somebody tells it that it was heard. Time is an
//! argument, and what is to come is handed back: [`crate::world`] puts it on its agenda.

use super::Course;
use crate::fault::SandboxTrouble;
use crate::seed::Rng;
use crate::story::{Event, Found, Happened};
use openpista_core::digest::Digest;
use openpista_core::effect::sandbox::{
    Action, Done, Ended, Engine, Program, SandboxFault, Task, UseSandbox,
};
use openpista_core::effect::tool::{Clip, Exit, Ran};
use openpista_core::effect::{Chunk, Outcome};
use openpista_core::id::SandboxId;
use openpista_core::time::Time;
use std::collections::BTreeMap;

/// Everything that stands.
#[derive(Debug, Default)]
pub struct Engines {
    standing: BTreeMap<SandboxId, Standing>,
    /// What is being made. Removing ends that as well.
    making: BTreeMap<SandboxId, Standing>,
}

/// A sandbox in the world.
#[derive(Clone, Debug)]
struct Standing {
    engine: Engine,
    task: Task,
    token: Option<Digest>,
    /// When what runs in it ends, and how; none before it was started.
    runs: Option<(Time, Ended)>,
    /// How often removing it fails.
    stuck: u64,
    /// It is gone when the program comes back.
    vanishes: bool,
}

/// An action, and what it meets.
#[derive(Debug)]
pub struct Acting<'a> {
    /// The action.
    pub used: &'a UseSandbox,
    /// What goes wrong with it.
    pub trouble: Option<SandboxTrouble>,
    /// When.
    pub now: Time,
    /// The program dies in the middle of it, or after it was all done.
    pub dies: Option<Dies>,
    /// What was running is started again, by a shell that is broken on purpose.
    pub restarts: bool,
    /// Nothing is removed, by a shell that is broken on purpose.
    pub keeps: bool,
}

/// How far an action comes before the program dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dies {
    /// It was begun.
    InIt,
    /// It was done, and not reported.
    After,
}

/// What comes of an action.
#[derive(Debug, Default)]
pub struct Acted {
    /// What the shell sees.
    pub course: Course,
    /// What happened in the world at once.
    pub events: Vec<Event>,
    /// What is to come, and in how many milliseconds.
    pub later: Vec<(u64, Coming)>,
}

/// What is to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coming {
    /// What is being made stands.
    Made(SandboxId),
    /// It is gone.
    Gone(SandboxId),
    /// The worker in it knocks, for the nth time.
    Knock(SandboxId, Digest, u64),
    /// A report arrives, whoever sent it.
    Report(Digest, Ended),
}

impl Coming {
    /// It goes on when the program dies.
    pub fn is_outside(&self) -> bool {
        matches!(self, Coming::Knock(..) | Coming::Report(..))
    }
}

impl Engines {
    /// An action is begun.
    pub fn act(&mut self, acting: &Acting<'_>, luck: &mut Rng) -> Acted {
        match &acting.used.action {
            Action::Create(task) => self.create(acting, task, luck),
            Action::Run(task) => self.run(acting, task, false, luck),
            Action::Resume(task) => self.run(acting, task, true, luck),
            Action::Destroy => self.destroy(acting, luck),
        }
    }

    fn create(&mut self, acting: &Acting<'_>, task: &Task, luck: &mut Rng) -> Acted {
        let used = acting.used;
        let mut acted = Acted::default();
        let took = match acting.trouble {
            Some(SandboxTrouble::Slow) => luck.between(60_000, 400_000),
            _ => luck.between(20, 5_000),
        };
        let (after, fault, leaves) = match acting.trouble {
            Some(SandboxTrouble::Unavailable) => (3, Some(unavailable()), false),
            Some(SandboxTrouble::Arguments) => (3, Some(arguments()), false),
            Some(SandboxTrouble::Fails) => (took, Some(failed()), luck.chance(50)),
            Some(SandboxTrouble::TimedOut) => {
                let fault = Some(SandboxFault::TimedOut);
                (used.timeout_ms, fault, luck.chance(50))
            }
            Some(SandboxTrouble::Late) => (used.timeout_ms * 2, None, true),
            Some(SandboxTrouble::Hang) => (took, None, luck.chance(50)),
            _ => (took, None, true),
        };
        let worker = task.program == Program::Worker;
        let nth = luck.bits();
        let token = worker.then(|| Digest::of(&[b"token", &nth.to_be_bytes()]));
        if !matches!(
            fault,
            Some(SandboxFault::Unavailable { .. } | SandboxFault::Arguments { .. })
        ) {
            // What an earlier try left goes first.
            acted.events.extend(self.remove(used.sandbox));
        }
        if leaves {
            let standing = Standing {
                engine: used.engine,
                task: task.clone(),
                token,
                runs: None,
                stuck: match acting.trouble {
                    Some(SandboxTrouble::Stuck) => luck.between(1, 4),
                    _ => 0,
                },
                vanishes: acting.trouble == Some(SandboxTrouble::Vanish),
            };
            self.making.insert(used.sandbox, standing);
            match acting.dies {
                None => acted.later.push((took / 2, Coming::Made(used.sandbox))),
                Some(Dies::InIt) if luck.chance(50) => {}
                Some(_) => acted.events.extend(self.made(used.sandbox)),
            }
        }
        let result = fault.map_or(Ok(Done::Created { token }), Err);
        let hangs = acting.trouble == Some(SandboxTrouble::Hang);
        acted.course.report = (!hangs).then_some((after, Outcome::Sandbox(result)));
        acted.course.progress = match acting.trouble {
            Some(SandboxTrouble::Slow) => vec![(took / 3, Chunk::Output("pulling".into()))],
            _ => Vec::new(),
        };
        acted
    }

    fn run(&mut self, acting: &Acting<'_>, task: &Task, resume: bool, luck: &mut Rng) -> Acted {
        let (used, now) = (acting.used, acting.now);
        let mut acted = Acted::default();
        if acting.trouble == Some(SandboxTrouble::Vanish) && used.engine == Engine::Docker {
            acted.events.extend(self.remove(used.sandbox));
        }
        // A guest lives in the program alone: the next life has to make it anew.
        if used.engine == Engine::Wasm && !self.standing.contains_key(&used.sandbox) {
            let guest = Standing {
                engine: used.engine,
                task: task.clone(),
                token: None,
                runs: None,
                stuck: 0,
                vanishes: false,
            };
            self.making.insert(used.sandbox, guest);
            acted.events.extend(self.made(used.sandbox));
        }
        let found = self.find(used.sandbox, now);
        if resume {
            let what = Happened::Resumed(found);
            acted.events.push(happened(used.sandbox, used.engine, what));
        }
        let refused = match acting.trouble {
            Some(SandboxTrouble::Unavailable) => Some(unavailable()),
            Some(SandboxTrouble::Arguments) => Some(failed()),
            _ => None,
        };
        let Some(standing) = self.standing.get_mut(&used.sandbox) else {
            let fault = match resume || acting.trouble == Some(SandboxTrouble::Vanish) {
                true => SandboxFault::Lost,
                false => failed(),
            };
            acted.course.report = Some((9, Outcome::Sandbox(Err(fault))));
            return acted;
        };
        if let Some(fault) = refused {
            // Where it may have run, that must not be passed off as not having run.
            let fault = match found {
                Found::Made => fault,
                _ => SandboxFault::Lost,
            };
            acted.course.report = Some((9, Outcome::Sandbox(Err(fault))));
            return acted;
        }
        if standing.runs.is_none() || acting.restarts {
            let took = luck.between(200, 25_000);
            let started = standing.start(acting, took, luck);
            let knock = |(after, token)| (after, Coming::Knock(used.sandbox, token, 1));
            acted.later.extend(started.map(knock));
            let what = Happened::Ran(task.clone());
            acted.events.push(happened(used.sandbox, used.engine, what));
        }
        let Some((until, ended)) = &standing.runs else {
            return acted;
        };
        let left = until.since_ms(now).max(4);
        let outcome = Outcome::Sandbox(Ok(Done::Ended(ended.clone())));
        acted.course.progress = vec![(left / 2, Chunk::Output("going on".into()))];
        acted.course.report = match acting.trouble {
            Some(SandboxTrouble::Hang) => None,
            Some(SandboxTrouble::Late) => Some((left + used.timeout_ms * 2, outcome)),
            _ => Some((left, outcome)),
        };
        acted
    }

    fn destroy(&mut self, acting: &Acting<'_>, luck: &mut Rng) -> Acted {
        let used = acting.used;
        let mut acted = Acted::default();
        let took = luck.between(6, 900);
        self.making.remove(&used.sandbox);
        let standing = self.standing.get_mut(&used.sandbox);
        let stuck = standing.is_some_and(|standing| {
            standing.stuck += match acting.trouble {
                Some(SandboxTrouble::Stuck) => luck.between(1, 4),
                _ => 0,
            };
            let stuck = standing.stuck > 0;
            standing.stuck = standing.stuck.saturating_sub(1);
            stuck
        });
        let (after, result, removes) = match acting.trouble {
            _ if stuck => (took, Err(failed()), false),
            Some(SandboxTrouble::Unavailable) => (3, Err(unavailable()), false),
            Some(SandboxTrouble::Fails) => (took, Err(failed()), luck.chance(50)),
            Some(SandboxTrouble::TimedOut) => {
                let fault = SandboxFault::TimedOut;
                (used.timeout_ms, Err(fault), luck.chance(50))
            }
            Some(SandboxTrouble::Hang) => (took, Ok(Done::Destroyed), luck.chance(50)),
            Some(SandboxTrouble::Late) => (used.timeout_ms * 2, Ok(Done::Destroyed), true),
            _ => (took, Ok(Done::Destroyed), true),
        };
        if removes && !acting.keeps {
            match acting.dies {
                None => acted.later.push((took / 2, Coming::Gone(used.sandbox))),
                Some(Dies::InIt) if luck.chance(50) => {}
                Some(_) => acted.events.extend(self.remove(used.sandbox)),
            }
        }
        let hangs = acting.trouble == Some(SandboxTrouble::Hang) && !stuck;
        acted.course.report = (!hangs).then_some((after, Outcome::Sandbox(result)));
        acted
    }

    /// How things stand with a sandbox.
    fn find(&self, sandbox: SandboxId, now: Time) -> Found {
        match self.standing.get(&sandbox).map(|standing| &standing.runs) {
            None => Found::Nothing,
            Some(None) => Found::Made,
            Some(Some((until, _))) if *until > now => Found::Running,
            Some(Some(_)) => Found::Ended,
        }
    }

    /// What was being made stands.
    pub fn made(&mut self, sandbox: SandboxId) -> Option<Event> {
        let standing = self.making.remove(&sandbox)?;
        let (engine, token) = (standing.engine, standing.token);
        self.standing.insert(sandbox, standing);
        Some(happened(sandbox, engine, Happened::Made(token)))
    }

    /// It is gone.
    pub fn remove(&mut self, sandbox: SandboxId) -> Option<Event> {
        let standing = self.standing.remove(&sandbox)?;
        Some(happened(sandbox, standing.engine, Happened::Gone))
    }

    /// What runs in it is killed.
    pub fn stop(&mut self, sandbox: SandboxId, now: Time) {
        if let Some(standing) = self.standing.get_mut(&sandbox)
            && let Some((until, ended)) = &mut standing.runs
            && *until > now
        {
            *until = now;
            ended.ran.exit = Exit::Cancelled;
        }
    }

    /// The program dies, and with it what lives in it.
    pub fn crash(&mut self) -> Vec<Event> {
        self.making.clear();
        let dies = |s: &Standing| s.engine != Engine::Docker || s.vanishes;
        let dead = |(id, s): (&SandboxId, &Standing)| dies(s).then_some(*id);
        let dead: Vec<SandboxId> = self.standing.iter().filter_map(dead).collect();
        dead.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    /// Nothing is hard to remove any more.
    pub fn heal(&mut self) {
        self.standing.values_mut().for_each(|s| s.stuck = 0);
        self.making.values_mut().for_each(|s| s.stuck = 0);
    }

    /// A worker knocks: what it sends, over a line that loses, delays and repeats, and its next
    /// knock. Nothing once it has been told, or has ended.
    pub fn knock(
        &self,
        (sandbox, token, nth): (SandboxId, Digest, u64),
        now: Time,
        healed: bool,
        luck: &mut Rng,
    ) -> Vec<(u64, Coming)> {
        let here = |s: &&Standing| s.token == Some(token);
        let Some(standing) = self.standing.get(&sandbox).filter(here) else {
            return Vec::new();
        };
        match &standing.runs {
            Some((until, ended)) if *until > now && ended.ran.exit == Exit::TimedOut => {}
            _ => return Vec::new(),
        }
        let report = Coming::Report(token, done(&standing.task, luck.between(1, 9_000)));
        let next = Coming::Knock(sandbox, token, nth + 1);
        let mut sent = vec![(luck.between(400, 9_000), next)];
        if healed || luck.chance(60) {
            sent.push((luck.between(1, 300), report.clone()));
        }
        if luck.chance(40) {
            sent.push((*luck.pick(&[1, 2_000, 60_000]), report));
        }
        // Whoever else can reach the gateway may try as well.
        if luck.chance(30) {
            let nobodys = Digest::of(&[&token.0, b"guessed"]);
            sent.push((1, Coming::Report(nobodys, done(&standing.task, 1))));
        }
        sent
    }

    /// The reports of the workers that have not been told yet.
    pub fn waiting(&self, now: Time) -> Vec<Coming> {
        let waits = |s: &&Standing| matches!(&s.runs, Some((until, ended)) if *until > now && ended.ran.exit == Exit::TimedOut);
        let standing = self.standing.values().filter(waits);
        let reports = standing.filter_map(|s| Some(Coming::Report(s.token?, done(&s.task, 1))));
        reports.collect()
    }

    /// A worker is told what became of its report, and ends. Which sandbox it was in, and how it
    /// ended.
    pub fn tell(&mut self, token: Digest, now: Time) -> Option<(SandboxId, Ended)> {
        let bears = |(_, s): &(&SandboxId, &mut Standing)| s.token == Some(token);
        let (&id, standing) = self.standing.iter_mut().find(bears)?;
        let task = standing.task.clone();
        let (until, ended) = standing.runs.as_mut()?;
        if *until <= now || ended.ran.exit != Exit::TimedOut {
            return None;
        }
        *until = now.after_ms(20);
        *ended = done(&task, 1);
        Some((id, ended.clone()))
    }
}

impl Standing {
    /// Starts the task. When its worker first knocks, if it is one.
    fn start(&mut self, acting: &Acting<'_>, took: u64, luck: &mut Rng) -> Option<(u64, Digest)> {
        let timeout = self.task.timeout_ms;
        let knocks = self.token.is_some();
        let took = match acting.dies {
            Some(Dies::After) => 0,
            _ => took,
        };
        let (took, exit) = match acting.trouble {
            // A worker ends when it is told that it was heard.
            _ if knocks => (timeout, Exit::TimedOut),
            Some(SandboxTrouble::TimedOut) => (timeout, Exit::TimedOut),
            Some(SandboxTrouble::Fails) => (took, Exit::Code(1)),
            _ => (took, Exit::Code(0)),
        };
        let mut ended = done(&self.task, took);
        ended.ran.exit = exit;
        self.runs = Some((acting.now.after_ms(took), ended));
        self.token.map(|token| (luck.between(100, 12_000), token))
    }
}

/// What a task says that is done. It can be told from the model's transcript that it really ran.
fn done(task: &Task, took_ms: u64) -> Ended {
    Ended {
        ran: Ran {
            exit: Exit::Code(0),
            stdout: Clip {
                text: format!("{} of {} is done", task.tool, task.arguments),
                cut_chars: 0,
            },
            stderr: Clip::default(),
            took_ms,
            pictures: Vec::new(),
        },
        note: None,
    }
}

/// What a use reports that was told to stop; none where there is no stopping it.
pub fn stopped(used: &UseSandbox) -> Option<Outcome> {
    let result = match &used.action {
        Action::Create(_) => Err(SandboxFault::Cancelled),
        Action::Run(task) | Action::Resume(task) => Ok(Done::Ended(killed(task))),
        Action::Destroy => return None,
    };
    Some(Outcome::Sandbox(result))
}

fn killed(task: &Task) -> Ended {
    let mut ended = done(task, 1);
    ended.ran.exit = Exit::Cancelled;
    ended
}

fn happened(sandbox: SandboxId, engine: Engine, what: Happened) -> Event {
    Event::Sandbox {
        sandbox,
        engine,
        what,
    }
}

fn unavailable() -> SandboxFault {
    SandboxFault::Unavailable {
        message: "no daemon answers".into(),
    }
}

fn arguments() -> SandboxFault {
    SandboxFault::Arguments {
        message: "no such command".into(),
    }
}

fn failed() -> SandboxFault {
    SandboxFault::Failed {
        message: "device or resource busy".into(),
    }
}
