//! The part of law 12 that is about pictures: those of a live turn's results are queued in the step
//! that settles them, in every channel of the turn, as many of a result as the bound says, and no
//! other ever is.

use super::{Evidence, Verdict, broken};
use openpista_core::effect::Outcome;
use openpista_core::effect::deliver::Body;
use openpista_core::id::{EffectId, MessageId, SessionId, TurnId};
use openpista_core::record::Record;
use openpista_core::replay::Line;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
struct Gallery {
    /// For which turn each effect is.
    turns: BTreeMap<EffectId, TurnId>,
    live: BTreeMap<SessionId, TurnId>,
    /// Over which channel each message came.
    came: BTreeMap<MessageId, String>,
    /// The channels of each live turn.
    origins: BTreeMap<SessionId, BTreeSet<String>>,
}

/// A channel, and the picture that is for it.
type Hung = BTreeMap<(String, String), usize>;

pub(super) fn pictures_are_shown(evidence: &Evidence<'_>) -> Verdict {
    let most = evidence.story.plan.rules.settings.limits.pictures;
    let mut gallery = Gallery::default();
    for line in &evidence.journal {
        let (due, queued) = gallery.follow(line, most);
        if due != queued {
            let why = format!("the pictures {due:?} were due, and {queued:?} were queued");
            return broken(12, line.seq, why);
        }
    }
    Ok(())
}

impl Gallery {
    /// What the line has to queue, and what it does queue.
    fn follow(&mut self, line: &Line, most: usize) -> (Hung, Hung) {
        let (mut due, mut queued) = (Hung::new(), Hung::new());
        for record in &line.records {
            match record {
                Record::Accepted(accepted) => {
                    self.came.insert(accepted.message, accepted.origin.clone());
                }
                Record::TurnBegan { session, turn } => {
                    self.live.insert(*session, *turn);
                    self.origins.insert(*session, BTreeSet::new());
                }
                Record::TurnEnded {
                    session,
                    turn: Some(_),
                    ..
                } => drop(self.live.remove(session)),
                Record::Joined { session, messages } => {
                    let origins = messages.iter().filter_map(|of| self.came.get(of));
                    let all = self.origins.entry(*session).or_default();
                    all.extend(origins.cloned());
                }
                Record::Intended(effect) => self
                    .turns
                    .extend(effect.turn().map(|turn| (effect.id, turn))),
                Record::Settled {
                    session,
                    effect,
                    outcome: Outcome::Tool(Ok(ran)),
                } if self.live.get(session) == self.turns.get(effect) => {
                    for origin in self.origins.get(session).into_iter().flatten() {
                        for picture in ran.pictures.iter().take(most) {
                            let hung = (origin.clone(), picture.path.clone());
                            *due.entry(hung).or_default() += 1;
                        }
                    }
                }
                Record::Queued {
                    origin,
                    body: Body::Picture(picture),
                    ..
                } => {
                    let hung = (origin.clone(), picture.path.clone());
                    *queued.entry(hung).or_default() += 1;
                }
                _ => {}
            }
        }
        (due, queued)
    }
}
