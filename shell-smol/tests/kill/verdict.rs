//! What is left once everything has come to rest, and what must be true of it.

use crate::bot_user::BotUser;
use crate::channels::{Said, Scene, lock};
use crate::jobs;
use crate::model::{name, subject};
use crate::shown;
use crate::support::conversation::{Model, word};
use crate::support::history::{History, Life};
use openpista_core::effect::deliver::{Body, DeliverFault};
use openpista_core::effect::tool::{Exit, RunTool};
use openpista_core::effect::{Op, Outcome};
use openpista_core::id::{ApprovalId, MessageId, SessionId};
use openpista_core::record::{Accepted, Answer, Record, Verdict};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

/// What has been begun and has not come to its end.
pub(crate) fn unfinished(history: &History, scene: &Scene) -> Vec<String> {
    let mut open = jobs::unfinished(history);
    let accepted: BTreeSet<(&str, &str)> = keys(history).collect();
    for (update, written) in lock(&scene.pushed).iter() {
        let (origin, key) = (written.place.origin(), update.to_string());
        if !accepted.contains(&(origin.as_str(), key.as_str())) {
            open.push(format!("update {update} was lost: {written:?}"));
        }
    }
    let (last, offset) = (scene.updates.load(Ordering::SeqCst), scene.api.offset());
    if offset <= last {
        open.push(format!(
            "the updates from {offset} to {last} are not acknowledged"
        ));
    }
    for (id, asked) in lock(&scene.asked).iter() {
        if asked.responses.is_empty() {
            open.push(format!("{id} has no response: {:?}", asked.text));
        }
    }
    let told: BTreeSet<MessageId> = ends(history).map(|(end, _)| end).collect();
    for accepted in history.accepted() {
        if !told.contains(&accepted.message) {
            open.push(format!("{:?} has no end", accepted.text));
        }
    }
    let effects = history.effects();
    let lives = effects.iter().filter(|(_, life)| life.ends.is_empty());
    open.extend(lives.map(|(id, life)| format!("effect {id}: {:?}", life.effect.op)));
    open
}

fn keys(history: &History) -> impl Iterator<Item = (&str, &str)> {
    let accepted = history.accepted();
    accepted.map(|accepted| (accepted.origin.as_str(), accepted.key.as_str()))
}

/// Each message that was told its end, and the text that it was.
fn ends(history: &History) -> impl Iterator<Item = (MessageId, &Body)> {
    history.records().flat_map(|(_, record)| {
        let (body, ends) = match record {
            Record::Queued { body, ends, .. } => (Some(body), ends.as_slice()),
            _ => (None, [].as_slice()),
        };
        ends.iter()
            .filter_map(move |end| Some((end.message, body?)))
    })
}

/// Everything that can be looked at.
pub(crate) struct Evidence<'a> {
    pub(crate) history: &'a History,
    pub(crate) scene: &'a Scene,
    pub(crate) user: &'a BotUser,
    pub(crate) model: &'a Model,
    pub(crate) ledger: &'a str,
}

impl Evidence<'_> {
    /// Finds everything in order, and counts it.
    ///
    /// # Panics
    /// When anything is not.
    pub(crate) fn judge(&self) -> String {
        let mut faults = unfinished(self.history, self.scene);
        faults.extend(self.model.faults.iter().cloned());
        faults.extend(lock(&self.scene.faults).iter().cloned());
        faults.extend(self.history.faults_of_messages());
        faults.extend(self.history.faults_of_effects());
        faults.extend(self.history.faults_of_showing("telegram:"));
        let counts = [
            self.messages(&mut faults),
            self.commands(&mut faults),
            self.questions(&mut faults),
            self.jobs(&mut faults),
        ];
        faults.extend(self.notices_that_nobody_kept());
        let shown = faults.len().min(20);
        assert!(
            faults.is_empty(),
            "{}: {:#?}",
            faults.len(),
            &faults[..shown]
        );
        counts.join("; ")
    }

    /// Laws 1 to 3 from outside: each message was taken once, and its end was seen, again only
    /// where it says so.
    fn messages(&self, faults: &mut Vec<String>) -> String {
        let accepted: BTreeMap<MessageId, &Accepted> =
            self.history.accepted().map(|a| (a.message, a)).collect();
        let (pushed, asked) = (lock(&self.scene.pushed), lock(&self.scene.asked));
        let known = |accepted: &Accepted| match accepted.origin.starts_with("telegram:") {
            // What the schedule has sent is judged with it.
            true if accepted.key.starts_with(jobs::KEY) => true,
            true => {
                let update = accepted.key.parse().ok();
                let pushed = update.and_then(|update: i64| pushed.get(&update));
                pushed.is_some_and(|written| {
                    accepted.origin == written.place.origin()
                        && accepted.peer == format!("telegram:{}", written.by)
                        && accepted.text == written.text
                })
            }
            false => asked
                .get(&accepted.key)
                .is_some_and(|asked| asked.text == accepted.text),
        };
        let unknown = accepted.values().filter(|accepted| !known(accepted));
        faults.extend(unknown.map(|accepted| format!("nobody wrote {accepted:?}")));
        let mut responses = 0;
        for (message, body) in ends(self.history) {
            let (Some(accepted), Some(text)) = (accepted.get(&message), body.text()) else {
                faults.push(format!("{body:?} ends message {message}"));
                continue;
            };
            let named = name(&accepted.text);
            let names = text.split([' ', '.']).any(|word| word == named);
            if matches!(body, Body::Reply(_)) && accepted.command.is_none() && !names {
                faults.push(format!("{text:?} is to end {named}"));
            }
            let Some(asked) = asked.get(&accepted.key) else {
                continue;
            };
            responses += asked.responses.len();
            let response = (text.to_owned(), matches!(body, Body::Failure(_)));
            if asked.responses.iter().any(|other| *other != response) {
                faults.push(format!("{response:?} came as {:?}", asked.responses));
            }
        }
        let shown = shown::judge(self.history, self.scene, faults);
        format!(
            "{} messages to the bot and {} to the gateway, 0 lost; {}; {responses} responses of the \
             gateway, all that asked again the same",
            pushed.len(),
            asked.len(),
            shown.told(self.user),
        )
    }

    /// Law 16: see [`jobs`].
    fn jobs(&self, faults: &mut Vec<String>) -> String {
        let answers = self.leave(&mut Vec::new());
        let yes = answers.iter().filter(|(_, yes)| **yes);
        let yes = yes.map(|(about, _)| about.as_str());
        let yes = yes.filter(|about| jobs::named(about).is_some()).collect();
        jobs::judge(self.history, &yes, self.ledger, faults)
    }

    /// Laws 4 and 5 from outside: what the commands left behind.
    fn commands(&self, faults: &mut Vec<String>) -> String {
        let mut left: BTreeMap<&str, usize> = BTreeMap::new();
        self.ledger
            .lines()
            .for_each(|word| *left.entry(word).or_default() += 1);
        let effects = self.history.effects();
        let tools = effects
            .values()
            .filter_map(|life| Some((life, life.tool()?)));
        let mut meant: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        let (mut count, mut doubted) = (0, 0);
        for (life, run) in tools {
            let word = word(&run.arguments).unwrap_or_default();
            let (least, most) = meant.entry(word.clone()).or_default();
            *least += usize::from(certainly_ran(life));
            *most += usize::from(!certainly_not(life));
            count += 1;
            if life.is_doubted() {
                doubted += 1;
                self.is_told(run, &word, faults);
            }
        }
        for (word, (least, most)) in meant {
            let times = left.remove(word.as_str()).unwrap_or(0);
            if !(least..=most).contains(&times) {
                faults.push(format!("{word} ran {times} times, not {least} to {most}"));
            }
        }
        faults.extend(
            left.keys()
                .map(|word| format!("{word} ran without an intent")),
        );
        format!("{count} commands, 0 repeated, {doubted} in doubt and said to be")
    }

    /// The people know what is in doubt, and so does the model if its turn went on.
    fn is_told(&self, run: &RunTool, word: &str, faults: &mut Vec<String>) {
        let ended = self.history.records().any(|(_, record)| {
            matches!(record, Record::TurnEnded { turn: Some(turn), end, .. }
                if *turn == run.turn && *end == openpista_core::record::TurnEnd::Stopped)
        });
        if !ended && !self.model.doubts.contains(word) {
            faults.push(format!("the model was not told that {word} is in doubt"));
        }
        let said = |text: &str| text.contains("may have run") && text.contains(word);
        if !self.history.queued().any(said) {
            faults.push(format!("nobody was told that {word} is in doubt"));
        }
    }

    /// Law 13: what ran had leave, each question was answered once, and what was said first holds.
    fn questions(&self, faults: &mut Vec<String>) -> String {
        let answers = self.leave(faults);
        let people = lock(&self.scene.said);
        let ran: BTreeSet<&str> = self.ledger.lines().collect();
        for word in &ran {
            let typed = ["typed-", "said-", "cron-"];
            let typed = typed.iter().any(|by_hand| word.starts_with(by_hand));
            let yes = people
                .get(*word)
                .is_some_and(|said| said.contains(&Said::Yes));
            if !typed && !yes {
                faults.push(format!("{word} ran without a yes"));
            }
        }
        let mut confirmed: BTreeSet<&str> = BTreeSet::new();
        let mut first = BTreeMap::new();
        for (update, (word, label)) in &self.user.presses {
            let label = *first.entry(word.as_str()).or_insert(label);
            if *label == "Deny" && ran.contains(word.as_str()) {
                faults.push(format!("{word} ran after a no (update {update})"));
            }
        }
        for call in self.scene.api.calls("answerCallbackQuery") {
            let query = call.params["callback_query_id"]
                .as_str()
                .unwrap_or_default();
            let update = query.strip_prefix("query-").and_then(|id| id.parse().ok());
            let said = call.params["text"].as_str().unwrap_or_default();
            if update.is_some_and(|update| self.user.strange.contains(&update)) {
                if said.starts_with("Allowed") {
                    faults.push(format!("somebody unknown pressed {query}: {said}"));
                }
                continue;
            }
            let press = update.and_then(|update: i64| self.user.presses.get(&update));
            let Some((word, label)) = press else {
                faults.push(format!("nobody pressed {query}"));
                continue;
            };
            let counted = match said {
                "Allowed once." => *label == "Allow once",
                "Allowed for this session." => *label == "Allow for this session",
                "Denied." => *label == "Deny",
                _ => continue,
            };
            if !counted || !confirmed.insert(word) {
                faults.push(format!(
                    "{label} for {word} was answered with {}",
                    call.params
                ));
            }
            let yes = answers.get(word).copied();
            if yes != Some(*label != "Deny") {
                faults.push(format!("{label} for {word} was confirmed, and is {yes:?}"));
            }
        }
        let yes = answers.values().filter(|yes| **yes).count();
        format!(
            "{yes} times yes and {} times no, 0 commands without a yes, {} presses of buttons, of \
             which {} came too late and changed nothing",
            answers.len() - yes,
            self.user.presses.len(),
            self.user.presses.len() - confirmed.len(),
        )
    }

    /// Each tool that was intended had leave. What the questions about each command came to.
    fn leave(&self, faults: &mut Vec<String>) -> BTreeMap<String, bool> {
        let mut leave: BTreeMap<(SessionId, u16), bool> = BTreeMap::new();
        let mut sought: BTreeMap<ApprovalId, (SessionId, u16, String)> = BTreeMap::new();
        let mut answers = BTreeMap::new();
        for (seq, record) in self.history.records() {
            match record {
                Record::Judged {
                    session,
                    call,
                    verdict,
                } => {
                    let allowed = matches!(verdict, Verdict::Allow { .. });
                    leave.insert((*session, *call), allowed);
                }
                Record::Sought(asked) => {
                    let word = subject(&asked.question.arguments).unwrap_or_default();
                    sought.insert(asked.approval, (asked.session, asked.call, word));
                }
                Record::Decided {
                    approval, answer, ..
                } => match sought.remove(approval) {
                    Some((session, call, word)) => {
                        leave.insert((session, call), answer.is_yes());
                        answers.insert(word, answer.is_yes());
                        if *answer == Answer::Expired {
                            faults.push(format!("step {seq}: a question expired"));
                        }
                    }
                    None => faults.push(format!("step {seq}: {approval} was answered again")),
                },
                Record::Intended(effect) => {
                    if let Op::Tool(run) = &effect.op
                        && leave.remove(&(run.session, run.call)) != Some(true)
                    {
                        faults.push(format!("step {seq}: {} had no leave", run.arguments));
                    }
                }
                Record::JobAdded { session, job, .. }
                    if leave.remove(&(*session, job.slot)) != Some(true) =>
                {
                    faults.push(format!("step {seq}: job {job} had no leave"));
                }
                _ => {}
            }
        }
        answers
    }

    /// What ends no message must wait until somebody is there: nobody asks for it.
    fn notices_that_nobody_kept(&self) -> Vec<String> {
        let effects = self.history.effects();
        let lost = effects
            .values()
            .filter_map(|life| match (&life.effect.op, &life.ends[..]) {
                (
                    Op::Deliver(delivery),
                    [
                        Record::Settled {
                            outcome: Outcome::Deliver(Err(DeliverFault::Gone { .. })),
                            ..
                        },
                    ],
                ) if delivery.ends.is_empty() => delivery.body.text(),
                _ => None,
            });
        lost.map(|text| format!("nobody was told: {text:?}"))
            .collect()
    }
}

fn certainly_ran(life: &Life<'_>) -> bool {
    matches!(life.ends[..], [Record::Settled { outcome: Outcome::Tool(Ok(ran)), .. }]
        if ran.exit == Exit::Code(0))
}

fn certainly_not(life: &Life<'_>) -> bool {
    matches!(
        life.ends[..],
        [Record::Settled {
            outcome: Outcome::Tool(Err(_)),
            ..
        }]
    )
}
