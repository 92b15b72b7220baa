//! What comes by itself: jobs in the configuration and jobs that the agent makes, due each minute.
//!
//! The core's rules: a job's next due time is armed when the one before is used up, by firing or by
//! being left out. A job that may be late fires however late it is. One that may not is left out
//! when it comes later than [`LATE_MS`], which happens when the daemon was dead at the minute.

use crate::model::TYPED;
use crate::place::{PLACES, Place};
use crate::support::history::History;
use openpista_core::id::{JobId, Seq};
use openpista_core::record::{Accepted, Record};
use openpista_core::settings::{JobSpec, Missed};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How late a job may be that may not be late, in milliseconds.
pub(crate) const LATE_MS: u64 = 1_000;
/// How long before a due time nothing is begun any more that is to come to rest.
const REST_MS: u64 = 12_000;
/// The time between two due times.
const EVERY_MS: u64 = 60_000;
/// How the key of a job's message begins.
pub(crate) const KEY: &str = "job:";

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}

/// How long it is to the next due time.
pub(crate) fn to_next() -> Duration {
    Duration::from_millis(EVERY_MS - now_ms() % EVERY_MS)
}

/// Something is due too soon for everything to come to rest before it.
pub(crate) fn is_near() -> bool {
    to_next() < Duration::from_millis(REST_MS)
}

/// The jobs in the configuration: in each place one that runs a command, which its text is, and one
/// that has the model run one.
pub(crate) fn configuration() -> String {
    let job = |(number, place): (usize, &Place)| {
        let origin = place.origin();
        let job = |name: &str, text: &str, missed: &str| {
            format!(
                "[[schedule]]\nname = \"{name}\"\ncron = \"* * * * *\"\ntext = \"{text}\"\n\
                 channel = \"{origin}\"\nmissed = \"{missed}\"\n"
            )
        };
        let (typed, asked) = match number % 2 {
            0 => ("once", "skip"),
            _ => ("skip", "once"),
        };
        let command = format!("{TYPED}echo cron-{number} >> ledger");
        job(&format!("typed {number}"), &command, typed)
            + &job(
                &format!("asked {number}"),
                &format!("c{number} rounds 1"),
                asked,
            )
    };
    PLACES.iter().enumerate().map(job).collect()
}

/// The arguments of the call by which the agent makes a job.
pub(crate) fn addition(number: &str) -> String {
    let late = number.ends_with(['0', '2', '4', '6', '8']);
    let missed = if late { "once" } else { "skip" };
    serde_json::json!({
        "name": format!("job-{number}"),
        "cron": "* * * * *",
        "text": format!("j{number} rounds 1"),
        "missed": missed,
    })
    .to_string()
}

/// The name of the job that a text is about.
pub(crate) fn named(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("job-")?;
    let end = rest.find(|c: char| !c.is_ascii_digit());
    Some(format!("job-{}", &rest[..end.unwrap_or(rest.len())]))
}

/// A job over all lives of the daemon.
#[derive(Debug)]
struct Job<'h> {
    spec: &'h JobSpec,
    /// Its due times, in milliseconds since 1970.
    armed: Vec<u64>,
    /// Those that were used up: in which step, and why without firing.
    used: Vec<(Seq, u64, Option<&'h str>)>,
}

fn jobs(history: &History) -> BTreeMap<JobId, Job<'_>> {
    let mut jobs: BTreeMap<JobId, Job<'_>> = BTreeMap::new();
    let new = |spec| Job {
        spec,
        armed: Vec::new(),
        used: Vec::new(),
    };
    for (seq, record) in history.records() {
        let (job, used) = match record {
            Record::Booted { settings, .. } => {
                for (slot, spec) in (0..).zip(&settings.schedule) {
                    if jobs.values().all(|job| job.spec != spec) {
                        jobs.insert(JobId { seq, slot }, new(spec));
                    }
                }
                continue;
            }
            Record::JobAdded { job, spec, .. } => {
                jobs.insert(*job, new(spec));
                continue;
            }
            Record::JobArmed {
                job, due_unix_ms, ..
            } => {
                let job = jobs.get_mut(job).expect("a job that was added");
                job.armed.extend(*due_unix_ms);
                continue;
            }
            Record::JobFired {
                job, due_unix_ms, ..
            } => (job, (seq, *due_unix_ms, None)),
            Record::JobMissed {
                job,
                due_unix_ms,
                reason,
                ..
            } => (job, (seq, *due_unix_ms, Some(reason.as_str()))),
            _ => continue,
        };
        jobs.get_mut(job)
            .expect("a job that was added")
            .used
            .push(used);
    }
    jobs
}

/// What is due and has not been used up.
pub(crate) fn unfinished(history: &History) -> Vec<String> {
    let now = now_ms();
    let mut open = Vec::new();
    for (id, job) in jobs(history) {
        match job.armed.last() {
            None => open.push(format!("job {id} was never armed: {:?}", job.spec)),
            Some(due) if *due <= now => open.push(format!("job {id} is due since {due}")),
            Some(_) => {}
        }
    }
    open
}

/// Law 16: each due time was used up once, and none was passed over. What fired is a message in the
/// place of its job, in the same step. The agent's jobs are those that it had leave to make, `yes`.
pub(crate) fn judge(
    history: &History,
    yes: &BTreeSet<&str>,
    ledger: &str,
    faults: &mut Vec<String>,
) -> String {
    let mut messages: BTreeMap<Seq, Vec<&Accepted>> = BTreeMap::new();
    for (seq, record) in history.records() {
        if let Record::Accepted(accepted) = record
            && accepted.key.starts_with(KEY)
        {
            messages.entry(seq).or_default().push(accepted);
        }
    }
    let jobs = jobs(history);
    for (id, job) in &jobs {
        let mut minutes = job.armed.windows(2);
        if minutes.any(|pair| pair[1] - pair[0] != EVERY_MS) {
            faults.push(format!("job {id} was armed for {:?}", job.armed));
        }
        let used = job.used.iter().map(|(_, due, _)| due);
        if !used.eq(job.armed.iter().take(job.armed.len().saturating_sub(1))) {
            faults.push(format!("job {id} was armed and used as {job:?}"));
        }
        for (seq, due, left_out) in &job.used {
            let fault = match left_out {
                Some(why) if job.spec.missed == Missed::Once => Some(format!(
                    "job {id} was to fire for {due}, and did not: {why}"
                )),
                Some(_) => None,
                None => {
                    let key = format!("{KEY}{id}:{due}");
                    let message = messages.get_mut(seq).and_then(Vec::pop);
                    let fits = message.is_some_and(|message| {
                        let JobSpec { origin, text, .. } = job.spec;
                        (&message.key, &message.origin, &message.text) == (&key, origin, text)
                    });
                    (!fits).then(|| format!("step {seq}: {key} fired as {message:?}"))
                }
            };
            faults.extend(fault);
        }
    }
    let strays = messages.values().flatten();
    faults.extend(strays.map(|message| format!("nothing fired for {message:?}")));
    let made: Vec<String> = jobs
        .values()
        .filter_map(|job| named(&job.spec.name))
        .collect();
    let known: BTreeSet<&str> = made.iter().map(String::as_str).collect();
    if known != *yes || known.len() != made.len() {
        faults.push(format!("the agent made {made:?}, with leave for {yes:?}"));
    }
    faults.extend(typed_commands(&jobs, ledger));
    let used = jobs.values().flat_map(|job| &job.used);
    let (fired, missed): (Vec<bool>, Vec<bool>) = used
        .map(|(_, _, left_out)| left_out.is_none())
        .partition(|fired| *fired);
    format!(
        "{} jobs, {} of them of the agent: fired {} times, 0 twice for a due time, left out {} \
         times for being late",
        jobs.len(),
        made.len(),
        fired.len(),
        missed.len(),
    )
}

/// The commands that are jobs' own texts ran no more often than their jobs fired.
fn typed_commands(jobs: &BTreeMap<JobId, Job<'_>>, ledger: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for job in jobs.values() {
        let Some(command) = job.spec.text.strip_prefix(TYPED) else {
            continue;
        };
        let word = command.split(' ').nth(1).unwrap_or_default();
        let ran = ledger.lines().filter(|line| *line == word).count();
        let fired = job.used.iter().filter(|(_, _, reason)| reason.is_none());
        let fired = fired.count();
        if ran > fired {
            faults.push(format!(
                "{word} ran {ran} times, and its job fired {fired} times"
            ));
        }
    }
    faults
}
