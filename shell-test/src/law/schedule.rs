//! Law 16: each (job, due time) fires at most once, and when its rules say so.

use super::{Evidence, Verdict, broken};
use openpista_core::id::{JobId, Seq};
use openpista_core::record::Record;
use openpista_core::replay::Line;
use openpista_core::settings::{JobSpec, Missed, Settings};
use openpista_core::time::Time;
use std::collections::BTreeMap;

/// Law 16: each (job, due time) fires at most once: not before it is due by the clock on the wall,
/// in the step of its own message, while the job is on the schedule; and one that is late by its
/// job's own rule; none in a life that is there for a conversation alone. What does not fire is missed on the record, and none of its times is passed over
/// in silence.
pub fn law_16_each_due_time_fires_once(evidence: &Evidence<'_>) -> Verdict {
    let late_ms = evidence.story.plan.rules.settings.limits.job_late_ms;
    let mut schedule = Schedule::default();
    for line in &evidence.journal {
        for record in &line.records {
            if let Err(why) = schedule.follow(late_ms, line, record) {
                return broken(16, line.seq, why);
            }
        }
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Schedule {
    wall: Option<(Time, u64)>,
    /// This life is one in which no job fires.
    passing: bool,
    jobs: BTreeMap<JobId, Job>,
}

#[derive(Debug)]
struct Job {
    spec: JobSpec,
    configured: bool,
    due: Option<u64>,
    used: Option<u64>,
}

impl Schedule {
    fn follow(&mut self, late_ms: u64, line: &Line, record: &Record) -> Result<(), String> {
        match record {
            Record::Booted { settings, unix_ms } => {
                self.wall = Some((line.at, *unix_ms));
                self.passing = !settings.jobs_fire;
                self.configure(line.seq, settings);
            }
            Record::ClockSet { unix_ms } => self.wall = Some((line.at, *unix_ms)),
            Record::JobAdded { job, spec, .. } => {
                drop(self.jobs.insert(*job, Job::new(spec, false)))
            }
            Record::JobRemoved { job, .. } => drop(self.jobs.remove(job)),
            Record::JobArmed {
                job, due_unix_ms, ..
            } => {
                let job = self.job(*job)?;
                if job.due.is_some() {
                    return Err(format!("{:?} is passed over", job.due));
                }
                if due_unix_ms.is_some_and(|due| Some(due) <= job.used) {
                    return Err(format!("{due_unix_ms:?} comes a second time"));
                }
                job.due = *due_unix_ms;
            }
            Record::JobFired {
                job, due_unix_ms, ..
            } => {
                let late = self.use_up(line, *job, *due_unix_ms)? > late_ms;
                if late && self.job(*job)?.spec.missed == Missed::Skip {
                    return Err(format!("{job} fires late although it is to be skipped"));
                }
                let key = format!("job:{job}:{due_unix_ms}");
                let own = |r: &Record| matches!(r, Record::Accepted(a) if a.key == key);
                if !line.records.iter().any(own) {
                    return Err(format!("{job} fires without its message"));
                }
            }
            Record::JobMissed {
                job,
                due_unix_ms,
                reason,
                ..
            } => {
                let late = self.use_up(line, *job, *due_unix_ms)? > late_ms;
                if !late && reason.contains("was not running") {
                    return Err(format!("{job} was not late and is skipped"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn job(&mut self, id: JobId) -> Result<&mut Job, String> {
        let job = self.jobs.get_mut(&id);
        job.ok_or_else(|| format!("{id} is not on the schedule"))
    }

    /// The due time of a job is used up. By how much it is late, in milliseconds.
    fn use_up(&mut self, line: &Line, id: JobId, due: u64) -> Result<u64, String> {
        let (then, unix_ms) = self.wall.ok_or("nobody looked at the clock")?;
        let now = unix_ms.saturating_add(line.at.since_ms(then));
        if self.passing {
            return Err(format!("{id} is used up in a life in which no job fires"));
        }
        let job = self.job(id)?;
        if job.due.take() != Some(due) {
            return Err(format!("{id} was not due at {due}"));
        }
        job.used = Some(due);
        let late = now.checked_sub(due);
        late.ok_or_else(|| format!("{id} is due at {due} and it is {now}"))
    }

    /// Jobs of the configuration are named by the start that first saw them.
    fn configure(&mut self, seq: Seq, settings: &Settings) {
        let kept = |job: &Job| !job.configured || settings.schedule.contains(&job.spec);
        self.jobs.retain(|_, job| kept(job));
        for (slot, spec) in (0..).zip(&settings.schedule) {
            let known = |job: &Job| job.configured && job.spec == *spec;
            if !self.jobs.values().any(known) {
                self.jobs.insert(JobId { seq, slot }, Job::new(spec, true));
            }
        }
    }
}

impl Job {
    fn new(spec: &JobSpec, configured: bool) -> Job {
        Job {
            spec: spec.clone(),
            configured,
            due: None,
            used: None,
        }
    }
}
