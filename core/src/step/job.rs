//! What a job's due time starts, and the tools by which the agent looks after the schedule.

use super::Stepping;
use crate::effect::deliver::Body;
use crate::id::{JobId, SessionId};
use crate::input::Arrival;
use crate::machine::router::{JOB_KEY, Routed, Sender};
use crate::machine::schedule::{self, Await, Due};
use crate::record::Record;
use crate::say;
use crate::settings::{JobSpec, Missed};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde_json::{Map, Value};

impl Stepping<'_> {
    pub(super) fn job_due(&mut self, job: JobId) {
        let settings = &self.state.settings;
        match self.state.schedule.tick(settings, self.step.at, job) {
            Due::Early => {}
            Due::Arm => self.arm(job, None),
            Due::Fire(due) => self.fire(job, due),
            Due::Miss(due) => self.miss(job, due, say::job_came_late().to_string()),
        }
    }

    /// Records the next due time, which uses up the one before.
    fn arm(&mut self, job: JobId, session: Option<SessionId>) {
        let session = session.or_else(|| self.session_of(job));
        let due_unix_ms = self.state.schedule.next_due(self.step.at, job);
        self.record(Record::JobArmed {
            session,
            job,
            due_unix_ms,
        });
    }

    fn session_of(&self, job: JobId) -> Option<SessionId> {
        let spec = &self.state.schedule.get(job)?.spec;
        self.state.router.session(spec.session_name())
    }

    /// The job's message arrives, and its turn begins, in this very step (law 16).
    fn fire(&mut self, job: JobId, due_unix_ms: u64) {
        let Some(entry) = self.state.schedule.get(job) else {
            return;
        };
        let spec = &entry.spec;
        let arrival = Arrival {
            origin: spec.origin.clone(),
            key: format!("{JOB_KEY}{job}:{due_unix_ms}"),
            peer: spec.peer.clone(),
            session: spec.session.clone(),
            text: spec.text.clone(),
            serial: None,
        };
        let sender = match entry.configured {
            true => Sender::Operator,
            false => Sender::Agent,
        };
        match self.route((&arrival, sender)) {
            Routed::Records(records) => {
                let session = records.iter().find_map(Record::session);
                let refused = records.iter().find_map(|record| match record {
                    Record::Refused { refusal, .. } => Some(refusal.to_string()),
                    _ => None,
                });
                match (session, refused) {
                    (Some(session), None) => {
                        self.record(Record::JobFired {
                            session,
                            job,
                            due_unix_ms,
                        });
                        self.arm(job, Some(session));
                        self.record_all(records);
                    }
                    (_, reason) => self.miss(job, due_unix_ms, reason.unwrap_or_default()),
                }
            }
            Routed::Refused(refusal) => self.miss(job, due_unix_ms, refusal.to_string()),
            Routed::Duplicate => self.arm(job, None),
        }
    }

    fn miss(&mut self, job: JobId, due_unix_ms: u64, reason: String) {
        let session = self.session_of(job);
        let late = reason == say::job_came_late();
        self.record(Record::JobMissed {
            session,
            job,
            due_unix_ms,
            reason: reason.clone(),
        });
        self.arm(job, session);
        let Some(spec) = self.state.schedule.get(job).map(|job| &job.spec) else {
            return;
        };
        let (origin, text) = (
            spec.origin.clone(),
            say::job_had_no_room(&spec.name, &reason),
        );
        if let Some(session) = session.filter(|_| !late)
            && self.state.load(session, &origin).deliveries
                < self.state.settings.limits.queued_deliveries
        {
            self.queue(session, &origin, Body::Notice(text), Vec::new());
        }
    }

    /// Answers a call of one of the schedule's tools.
    pub(super) fn serve_schedule(
        &mut self,
        (session, call): (SessionId, u16),
        tool: &str,
        arguments: &str,
        origin: Option<String>,
    ) {
        let arguments: Map<String, Value> = serde_json::from_str(arguments).unwrap_or_default();
        let content = match tool {
            schedule::ADD => self.add_job((session, call), &arguments, origin),
            schedule::REMOVE => self.remove_job(session, &arguments),
            _ => Ok(self.list_jobs(session)),
        };
        let content = content.unwrap_or_else(|wrong| format!("did not work: {wrong}"));
        self.record(Record::Served {
            session,
            call,
            content,
        });
    }

    fn add_job(
        &mut self,
        (session, call): (SessionId, u16),
        arguments: &Map<String, Value>,
        origin: Option<String>,
    ) -> Result<String, String> {
        let text = |name: &str| match arguments.get(name) {
            Some(Value::String(text)) => Ok(text.clone()),
            _ => Err(format!("`{name}` is missing, or is not a string")),
        };
        let settings = &self.state.settings;
        let origin = origin.ok_or("there is nobody to send the replies to")?;
        let spec = JobSpec {
            name: text("name")?,
            cron: text("cron")?,
            zone: text("zone").unwrap_or_else(|_| settings.zone.clone()),
            text: text("text")?,
            peer: self
                .peer_of(session)
                .ok_or("there is nobody to run it for")?,
            origin,
            session: Some(self.state.router.name(session).to_string()),
            missed: match arguments.get("missed") {
                Some(Value::String(rule)) if rule == "once" => Missed::Once,
                _ => Missed::Skip,
            },
        };
        schedule::check(&spec)?;
        let (bytes, most) = (spec.text.len(), settings.limits.message_bytes);
        if bytes > most {
            return Err(format!(
                "`text` has {bytes} bytes, and a message has at most {most}: shorten it"
            ));
        }
        let most = settings.limits.jobs;
        if self.jobs_of(session).count() >= most {
            return Err(format!("there are {most} jobs already: remove one first"));
        }
        let job = JobId {
            seq: self.step.seq,
            slot: call,
        };
        let told = format!("job {job}: {:?} at {} {}", spec.text, spec.cron, spec.zone);
        self.record(Record::JobAdded { session, job, spec });
        self.arm(job, Some(session));
        Ok(told)
    }

    fn peer_of(&self, session: SessionId) -> Option<String> {
        let turn = self.state.turns.live(session)?;
        turn.peers().first().map(|peer| peer.to_string())
    }

    fn remove_job(
        &mut self,
        session: SessionId,
        arguments: &Map<String, Value>,
    ) -> Result<String, String> {
        let id = arguments
            .get("id")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let job: JobId = id.parse().map_err(|error| format!("{error}"))?;
        let found = self.jobs_of(session).find(|(id, _)| *id == job);
        match found.map(|(_, job)| job.configured) {
            None => Err(format!("there is no job {job}; see schedule.list")),
            Some(true) => Err(format!(
                "job {job} is in the configuration: the owner can take it out of [[schedule]]"
            )),
            Some(false) => {
                self.record(Record::JobRemoved { session, job });
                Ok(format!("job {job} is off the schedule"))
            }
        }
    }

    /// The jobs of a session: none sees another's (law 11).
    fn jobs_of(&self, session: SessionId) -> impl Iterator<Item = (JobId, &schedule::Job)> {
        let router = &self.state.router;
        let jobs = self.state.schedule.jobs();
        jobs.filter(move |(_, job)| router.session(job.spec.session_name()) == Some(session))
    }

    fn list_jobs(&self, session: SessionId) -> String {
        let now = self
            .state
            .schedule
            .unix_ms(self.step.at)
            .unwrap_or_default();
        let line = |(id, job): (JobId, &schedule::Job)| {
            let due = match job.awaits {
                Await::Due(due) => format!("due in {} s", due.saturating_sub(now) / 1000),
                Await::Arming(_) => String::from("due time not known yet"),
                Await::Nothing => String::from("never due again"),
            };
            let JobSpec {
                name,
                cron,
                zone,
                text,
                ..
            } = &job.spec;
            format!("{id} {name:?}: {cron} {zone}, {due}: {text:?}")
        };
        let lines: Vec<String> = self.jobs_of(session).map(line).collect();
        match lines.is_empty() {
            true => String::from("nothing is on the schedule"),
            false => lines.join("\n"),
        }
    }
}
