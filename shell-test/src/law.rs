//! The laws, as checks on the story of a world.
//!
//! A check reads what happened, in order, and names the first place at which its law does not
//! hold; so looking at the finished story is looking after every step. A check is a pure function,
//! which is what lets [`crate::mutant`] show for each that it can fail.

mod cancel;
mod fold;
mod order;
mod outside;
mod permission;
mod picture;
mod sandbox;
mod schedule;

pub use cancel::*;
pub use fold::*;
pub use order::*;
pub use outside::*;
pub use permission::*;
pub use sandbox::*;
pub use schedule::*;

use crate::story::Story;
use openpista_core::id::Seq;
use openpista_core::replay::Line;
use std::fmt;

/// A story, and the journal that is left of it.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// What happened.
    pub story: &'a Story,
    /// What is durable at the end.
    pub journal: Vec<Line>,
}

/// A law that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which law.
    pub law: u8,
    /// Near which step.
    pub seq: Option<Seq>,
    /// What is wrong there.
    pub why: String,
}

/// Whether a law holds.
pub type Verdict = Result<(), Broken>;

/// A law's number, name and check.
pub type Law = (u8, &'static str, fn(&Evidence<'_>) -> Verdict);

/// Every law.
pub const LAWS: &[Law] = &[
    (
        1,
        "every accepted message has one visible end",
        law_01_one_visible_end,
    ),
    (
        2,
        "acknowledged only when durable",
        law_02_acknowledged_when_durable,
    ),
    (3, "a key is accepted once", law_03_accepted_once),
    (
        4,
        "no effect without a durable intent",
        law_04_durable_intent_first,
    ),
    (
        5,
        "doubtful work starts at most once",
        law_05_doubt_starts_once,
    ),
    (6, "each intent ends once", law_06_each_intent_ends_once),
    (
        7,
        "folding gives the live state",
        law_07_folding_gives_the_live_state,
    ),
    (
        8,
        "the same journal, the same records",
        law_08_same_journal_same_records,
    ),
    (
        9,
        "every durable prefix restores",
        law_09_every_prefix_restores,
    ),
    (
        10,
        "progress changes nothing",
        law_10_progress_changes_nothing,
    ),
    (
        11,
        "sessions do not touch each other",
        law_11_sessions_are_apart,
    ),
    (
        12,
        "one live turn, replies in order",
        law_12_one_turn_in_order,
    ),
    (
        13,
        "no tool without permission",
        law_13_no_tool_without_permission,
    ),
    (
        14,
        "nothing new after a cancel",
        law_14_nothing_new_after_a_cancel,
    ),
    (15, "a sandbox serves one task", law_15_sandboxes_serve_once),
    (
        16,
        "each due time fires at most once",
        law_16_each_due_time_fires_once,
    ),
    (
        17,
        "ticks do what is due and no more",
        law_17_ticks_do_what_is_due,
    ),
    (18, "everything is bounded, aloud", law_18_bounded_aloud),
    (
        19,
        "chunk boundaries mean nothing",
        law_19_chunks_mean_nothing,
    ),
    (20, "quiet in the end", law_20_quiet_in_the_end),
    (21, "what was exported restores", law_21_exports_restore),
    (22, "a secret is never seen again", law_22_canary_never_seen),
];

/// The laws that a story breaks.
pub fn check(story: &Story) -> Vec<Broken> {
    let journal = story.journal();
    let evidence = Evidence { story, journal };
    let verdicts = LAWS.iter().map(|(_, _, check)| check(&evidence));
    verdicts.filter_map(Result::err).collect()
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = LAWS.iter().find(|(law, _, _)| *law == self.law);
        let name = name.map_or("", |(_, name, _)| name);
        write!(f, "law {} ({name})", self.law)?;
        if let Some(seq) = self.seq {
            write!(f, ", step {seq}")?;
        }
        write!(f, ": {}", self.why)
    }
}

impl Broken {
    /// What broke, in which seed, and what happened around it.
    pub fn report(&self, story: &Story) -> String {
        let seed = story.plan.rules.seed;
        let around = story.tell(self.seq);
        format!("seed {seed}: {self}\n{around}OPENPISTA_SEED={seed} tells the whole story.")
    }
}

fn broken<T>(law: u8, seq: impl Into<Option<Seq>>, why: impl Into<String>) -> Result<T, Broken> {
    Err(Broken {
        law,
        seq: seq.into(),
        why: why.into(),
    })
}
