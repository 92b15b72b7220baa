//! The schedule: messages that come by themselves.
//!
//! Each (job, due time) fires at most once (law 16): a job's next due time is a record, is later
//! than the one before whatever the clock does, and is used up in the step that fires it. A clock
//! that jumps back makes a job wait; one that jumps ahead, or a program that was not running, makes
//! it late, and then the job's own rule says whether it fires once or not at all.
//!
//! The wall clock is known from the latest boot or [`Record::ClockSet`], and counts on with the
//! journal's time. Cron expressions are read when a due time is to be found, never while folding.

use crate::cron::{Cron, Zone};
use crate::effect::Recovery;
use crate::id::{JobId, Seq};
use crate::message::ToolSpec;
use crate::record::Record;
use crate::settings::{JobSpec, Missed, Settings};
use crate::time::Time;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// The wall clock may differ from what is known by so much before it counts as set, in
/// milliseconds.
const DRIFT_MS: u64 = 1_000;

/// What is on the schedule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Schedule {
    /// What the wall clock showed, and when.
    clock: Option<(Time, u64)>,
    jobs: BTreeMap<JobId, Job>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) spec: JobSpec,
    /// It is in the configuration; else the agent made it.
    pub(crate) configured: bool,
    pub(crate) awaits: Await,
}

/// What a job waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Await {
    /// Its due time to be found; since this moment.
    Arming(Time),
    /// Its due time, in milliseconds since 1970 in UTC.
    Due(u64),
    /// Nothing: it is never due again.
    Nothing,
}

/// What a job's timer comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// It is not time.
    Early,
    /// The next due time is to be recorded.
    Arm,
    /// It fires, for this due time.
    Fire(u64),
    /// This due time has passed, and is left out.
    Miss(u64),
}

impl Schedule {
    /// The wall clock at a moment: milliseconds since 1970 in UTC.
    pub(crate) fn unix_ms(&self, at: Time) -> Option<u64> {
        let (then, unix_ms) = self.clock?;
        Some(unix_ms.saturating_add(at.since_ms(then)))
    }

    /// The wall clock shows this.
    pub(crate) fn look_at_clock(&self, at: Time, unix_ms: u64) -> Option<Record> {
        let known = self.unix_ms(at)?;
        (known.abs_diff(unix_ms) > DRIFT_MS).then_some(Record::ClockSet { unix_ms })
    }

    pub(crate) fn get(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id)
    }

    /// Every job.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = (JobId, &Job)> {
        self.jobs.iter().map(|(id, job)| (*id, job))
    }

    /// A job's timer, in a life in which jobs fire or do not.
    pub(crate) fn tick(&self, settings: &Settings, at: Time, id: JobId) -> Due {
        let (Some(job), Some(now)) = (self.jobs.get(&id), self.unix_ms(at)) else {
            return Due::Early;
        };
        let late_ms = settings.limits.job_late_ms;
        match job.awaits {
            Await::Arming(_) => Due::Arm,
            Await::Due(_) if !settings.jobs_fire => Due::Early,
            Await::Due(due) if now < due => Due::Early,
            Await::Due(due) if now - due <= late_ms => Due::Fire(due),
            Await::Due(due) => match job.spec.missed {
                Missed::Once => Due::Fire(due),
                Missed::Skip => Due::Miss(due),
            },
            Await::Nothing => Due::Early,
        }
    }

    /// The first due time after now and after the one that is being used up.
    pub(crate) fn next_due(&self, at: Time, id: JobId) -> Option<u64> {
        let job = self.jobs.get(&id)?;
        let now = self.unix_ms(at)?;
        let after = match job.awaits {
            Await::Due(due) => now.max(due),
            Await::Arming(_) | Await::Nothing => now,
        };
        let cron = Cron::parse(&job.spec.cron).ok()?;
        let zone = Zone::parse(&job.spec.zone).ok()?;
        cron.next_after(after, zone)
    }

    /// When a job's timer is due, if it runs.
    pub(crate) fn due(&self, fire: bool, id: JobId) -> Option<Time> {
        let (then, unix_ms) = self.clock?;
        match self.jobs.get(&id)?.awaits {
            Await::Arming(since) => Some(since),
            Await::Due(due) if fire => Some(then.after_ms(due.saturating_sub(unix_ms))),
            Await::Due(_) | Await::Nothing => None,
        }
    }

    /// The earliest timer.
    pub(crate) fn deadline(&self, fire: bool) -> Option<(Time, JobId)> {
        let due = |id: &JobId| Some((self.due(fire, *id)?, *id));
        self.jobs.keys().filter_map(due).min()
    }

    pub(crate) fn evolve(&mut self, seq: Seq, at: Time, record: &Record) {
        match record {
            Record::Booted { settings, unix_ms } => {
                self.clock = Some((at, *unix_ms));
                self.configure(seq, at, settings);
            }
            Record::ClockSet { unix_ms } => self.clock = Some((at, *unix_ms)),
            Record::JobAdded { job, spec, .. } => {
                self.jobs.insert(*job, Job::new(spec, false, at));
            }
            Record::JobRemoved { job, .. } => {
                self.jobs.remove(job);
            }
            Record::JobArmed {
                job, due_unix_ms, ..
            } => {
                if let Some(job) = self.jobs.get_mut(job) {
                    job.awaits = due_unix_ms.map_or(Await::Nothing, Await::Due);
                }
            }
            _ => {}
        }
    }

    /// Takes over the configured jobs. One that is as it was keeps its due time.
    fn configure(&mut self, seq: Seq, at: Time, settings: &Settings) {
        let kept = |job: &Job| !job.configured || settings.schedule.contains(&job.spec);
        self.jobs.retain(|_, job| kept(job));
        for (slot, spec) in (0..).zip(&settings.schedule) {
            let known = |job: &Job| job.configured && job.spec == *spec;
            if !self.jobs.values().any(known) {
                let id = JobId { seq, slot };
                self.jobs.insert(id, Job::new(spec, true, at));
            }
        }
    }
}

impl Job {
    fn new(spec: &JobSpec, configured: bool, at: Time) -> Job {
        Job {
            spec: spec.clone(),
            configured,
            awaits: Await::Arming(at),
        }
    }
}

/// A job's spec, checked: what is wrong with it, in a sentence.
pub(crate) fn check(spec: &JobSpec) -> Result<(), String> {
    Cron::parse(&spec.cron).map_err(|error| error.to_string())?;
    Zone::parse(&spec.zone).map_err(|error| error.to_string())?;
    match spec.text.trim() {
        "" => Err("the message of a job must not be empty".to_string()),
        _ => Ok(()),
    }
}

/// The tools by which the agent looks after the schedule. The core answers them itself.
pub(crate) fn serves(tool: &str) -> bool {
    matches!(tool, ADD | LIST | REMOVE)
}

pub(crate) const ADD: &str = "schedule.add";
pub(crate) const LIST: &str = "schedule.list";
pub(crate) const REMOVE: &str = "schedule.remove";

/// What the model is told of these tools.
pub fn specs() -> Vec<ToolSpec> {
    let tool = |name: &str, description: &str, parameters: &str, read_only| ToolSpec {
        name: name.to_string(),
        description: description.to_string(),
        parameters: parameters.to_string(),
        recovery: Recovery::Repeat,
        read_only,
        timeout_ms: 0,
        sandbox: None,
    };
    Vec::from([
        tool(
            ADD,
            "Have a message sent to yourself on a schedule; your reply to it goes to the person \
             in this conversation. `cron` has five fields as in a crontab (minute, hour, day of \
             month, month, day of week), or is @hourly, @daily, @weekly or @monthly.",
            r#"{"type":"object","properties":{"name":{"type":"string","description":"A short name for people"},"cron":{"type":"string"},"zone":{"type":"string","description":"An IANA time zone; default: the machine's"},"text":{"type":"string","description":"The message, as a person would write it"},"missed":{"type":"string","enum":["skip","once"],"description":"What to do about times that passed while the program did not run"}},"required":["name","cron","text"],"additionalProperties":false}"#,
            false,
        ),
        tool(
            LIST,
            "List the jobs on the schedule, with their ids and next due times.",
            r#"{"type":"object","properties":{},"additionalProperties":false}"#,
            true,
        ),
        tool(
            REMOVE,
            "Take a job off the schedule.",
            r#"{"type":"object","properties":{"id":{"type":"string","description":"The id that schedule.list shows"}},"required":["id"],"additionalProperties":false}"#,
            false,
        ),
    ])
}
