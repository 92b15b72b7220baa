//! Breaking laws on purpose, to see that the checks can fail.
//!
//! Where a law is kept by a shell, the shell is broken ([`Meddling`]). Where it is kept by the
//! core, the core is misled about its rules, or a [`Story`] is changed into one that a broken core
//! would have left.

mod change;
mod sandbox;

use crate::plan::OWNER;
use crate::story::Story;
use openpista_core::Core;
use openpista_core::effect::Recovery;
use openpista_core::input::{Boot, Input};
use openpista_core::message::ToolSpec;
use openpista_core::record::Record;
use openpista_core::replay::Line;
use openpista_core::settings::Mode;

/// How a shell is broken, or how it misleads the core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Meddling {
    /// Not at all.
    #[default]
    None,
    /// The gate is opened before the commit.
    OpensEarly,
    /// Channels are acknowledged when a message comes in.
    AcknowledgesEarly,
    /// No key is known again.
    ForgetsKeys,
    /// Doubtful tools are run again after a crash.
    RepeatsDoubt,
    /// Deliveries count as made and are not.
    LosesDeliveries,
    /// Everything is shown twice.
    ShowsTwice,
    /// Nobody is asked for permission.
    AsksNobody,
    /// Queues have no bound.
    TakesEverything,
    /// Strangers are taken for owners.
    TrustsStrangers,
    /// The first owner stays one, whomever the configuration names.
    KeepsTheOwner,
    /// The clock never ticks.
    NeverTicks,
    /// A container that is asked what became of it runs its task again.
    RunsAgain,
    /// Sandboxes count as removed and are not.
    KeepsSandboxes,
}

impl Meddling {
    pub(crate) fn opens_early(self) -> bool {
        self == Meddling::OpensEarly
    }

    pub(crate) fn acknowledges_early(self) -> bool {
        self == Meddling::AcknowledgesEarly
    }

    pub(crate) fn never_ticks(self) -> bool {
        self == Meddling::NeverTicks
    }

    pub(crate) fn restarts(self) -> bool {
        self == Meddling::RunsAgain
    }

    pub(crate) fn keeps(self) -> bool {
        self == Meddling::KeepsSandboxes
    }

    pub(crate) fn shows(self) -> usize {
        match self {
            Meddling::LosesDeliveries => 0,
            Meddling::ShowsTwice => 2,
            _ => 1,
        }
    }

    /// What the core is told instead.
    pub(crate) fn input(self, input: Input, core: &Core) -> Input {
        match (self, input) {
            (Meddling::ForgetsKeys, Input::Arrive(mut arrival)) => {
                arrival.key = format!("{}#{}", arrival.key, core.state().seq());
                Input::Arrive(arrival)
            }
            (_, Input::Boot(mut boot)) => {
                self.mislead(&mut boot);
                Input::Boot(boot)
            }
            (_, input) => input,
        }
    }

    fn mislead(self, boot: &mut Boot) {
        let settings = &mut boot.settings;
        match self {
            Meddling::RepeatsDoubt => {
                let repeat = |tool: &ToolSpec| ToolSpec {
                    recovery: Recovery::Repeat,
                    ..tool.clone()
                };
                settings.tools = settings.tools.iter().map(repeat).collect();
            }
            Meddling::AsksNobody => settings.policy.tools.values_mut().for_each(|mode| {
                *mode = Mode::Full;
            }),
            Meddling::TakesEverything => settings.limits.queued_messages = usize::MAX,
            Meddling::KeepsTheOwner => drop(settings.owners.insert(OWNER.into())),
            Meddling::TrustsStrangers => drop(settings.owners.insert("cli:eve".into())),
            _ => {}
        }
    }

    /// What the journal is told instead.
    pub(crate) fn line(self, line: &mut Line) {
        if self != Meddling::ForgetsKeys {
            return;
        }
        for record in &mut line.records {
            if let Record::Accepted(accepted) = record {
                let key = accepted.key.split('#').next().unwrap_or_default();
                accepted.key = key.to_string();
            }
        }
    }
}

/// How a law is broken.
#[derive(Clone, Copy, Debug)]
pub enum Break {
    /// The world runs so.
    World(Meddling),
    /// The world runs well, and its story is changed.
    Story(fn(&mut Story)),
}

/// A law, how it is broken, and what that means.
pub type Mutant = (u8, &'static str, Break);

/// At least one mutant for every law.
pub const MUTANTS: &[Mutant] = &[
    (
        1,
        "a delivery is lost",
        Break::World(Meddling::LosesDeliveries),
    ),
    (
        1,
        "a delivery is made twice",
        Break::World(Meddling::ShowsTwice),
    ),
    (
        1,
        "a message ends with what nobody said",
        Break::Story(change::reply_made_up),
    ),
    (
        2,
        "a channel is acknowledged at once",
        Break::World(Meddling::AcknowledgesEarly),
    ),
    (
        2,
        "the gate opens too early",
        Break::World(Meddling::OpensEarly),
    ),
    (3, "keys are forgotten", Break::World(Meddling::ForgetsKeys)),
    (
        3,
        "somebody is let in again by the same message",
        Break::Story(change::let_in_again),
    ),
    (
        4,
        "the gate opens too early",
        Break::World(Meddling::OpensEarly),
    ),
    (
        5,
        "a command runs again after a crash",
        Break::World(Meddling::RepeatsDoubt),
    ),
    (
        5,
        "a doubt is passed over",
        Break::Story(change::doubt_passed_over),
    ),
    (
        5,
        "nobody is told of a doubt",
        Break::Story(change::doubt_untold),
    ),
    (
        6,
        "an effect ends twice",
        Break::Story(change::settled_twice),
    ),
    (
        6,
        "a stale outcome is recorded",
        Break::Story(change::stale_recorded),
    ),
    (
        7,
        "the state changes without a record",
        Break::Story(change::record_lost),
    ),
    (8, "a record differs", Break::Story(change::reply_altered)),
    (
        8,
        "the second run differs",
        Break::Story(change::run_differs),
    ),
    (
        9,
        "time runs backwards in the journal",
        Break::Story(change::time_backwards),
    ),
    (
        10,
        "progress leaves a record",
        Break::Story(change::progress_recorded),
    ),
    (
        11,
        "a step reaches into another session",
        Break::Story(change::sessions_mixed),
    ),
    (
        12,
        "a turn begins within a turn",
        Break::Story(change::turn_within_turn),
    ),
    (
        12,
        "a delivery overtakes another",
        Break::Story(change::overtaken),
    ),
    (
        11,
        "a conversation that moved begins anew",
        Break::Story(change::conversation_split),
    ),
    (
        12,
        "a picture is kept from the person",
        Break::Story(change::picture_kept),
    ),
    (13, "nobody is asked", Break::World(Meddling::AsksNobody)),
    (
        13,
        "silence counts as a yes",
        Break::Story(change::silence_is_yes),
    ),
    (
        13,
        "a yes for the session outlives it",
        Break::Story(change::session_started_afresh),
    ),
    (
        13,
        "one whom nobody let in is heard",
        Break::Story(change::never_let_in),
    ),
    (
        13,
        "one who is no owner any more is heard",
        Break::World(Meddling::KeepsTheOwner),
    ),
    (
        14,
        "one who is no owner any more stops a turn",
        Break::World(Meddling::KeepsTheOwner),
    ),
    (
        13,
        "a guest answers for others",
        Break::Story(change::guest_answers),
    ),
    (
        14,
        "a message that was taken back goes on",
        Break::Story(change::taken_back_in_vain),
    ),
    (16, "a job fires twice", Break::Story(change::fired_twice)),
    (
        16,
        "a job fires too early",
        Break::Story(change::fired_early),
    ),
    (
        16,
        "a job fires in a life that is there for a conversation",
        Break::Story(change::fired_in_passing),
    ),
    (
        16,
        "a due time is passed over",
        Break::Story(change::passed_over),
    ),
    (
        14,
        "a stopped turn goes on",
        Break::Story(change::stopped_goes_on),
    ),
    (
        17,
        "a due tick does nothing",
        Break::Story(change::due_tick_ignored),
    ),
    (
        17,
        "an early tick does something",
        Break::Story(change::early_tick_acts),
    ),
    (
        18,
        "a queue has no bound",
        Break::World(Meddling::TakesEverything),
    ),
    (
        18,
        "a message is refused in silence",
        Break::Story(change::refused_in_silence),
    ),
    (
        19,
        "a reply depends on its last chunk alone",
        Break::Story(change::chunk_lost),
    ),
    (
        20,
        "the clock never ticks",
        Break::World(Meddling::NeverTicks),
    ),
    (
        20,
        "somebody comes in vain",
        Break::Story(change::came_in_vain),
    ),
    (
        21,
        "positions run backwards in an export",
        Break::Story(change::time_backwards),
    ),
    (
        22,
        "a stranger is heard",
        Break::World(Meddling::TrustsStrangers),
    ),
    (
        1,
        "the model is told of what never ran",
        Break::Story(sandbox::nothing_really_ran),
    ),
    (
        5,
        "the task of a container is run again",
        Break::World(Meddling::RunsAgain),
    ),
    (
        5,
        "a task that was lost is passed off as ended",
        Break::Story(sandbox::loss_passed_off),
    ),
    (
        13,
        "a sandbox runs something else",
        Break::Story(sandbox::runs_something_else),
    ),
    (
        14,
        "a sandbox is made for a turn that has ended",
        Break::Story(sandbox::runs_for_an_ended_turn),
    ),
    (
        15,
        "the task of a container is run again",
        Break::World(Meddling::RunsAgain),
    ),
    (
        15,
        "no sandbox is ever removed",
        Break::World(Meddling::KeepsSandboxes),
    ),
    (
        15,
        "a removal is forgotten",
        Break::Story(sandbox::removal_forgotten),
    ),
    (
        15,
        "a sandbox is shared by two calls",
        Break::Story(sandbox::shared),
    ),
    (
        15,
        "a sandbox is used again",
        Break::Story(sandbox::used_again),
    ),
    (
        15,
        "a report is taken with a foreign token",
        Break::Story(sandbox::foreign_token_taken),
    ),
    (
        15,
        "a report is taken twice",
        Break::Story(sandbox::report_taken_twice),
    ),
    (
        15,
        "a report is not taken",
        Break::Story(sandbox::report_not_taken),
    ),
    (
        15,
        "one who was not heard is told so",
        Break::Story(sandbox::nobody_is_told),
    ),
    (
        18,
        "making a sandbox is tried again and again",
        Break::Story(sandbox::made_again_and_again),
    ),
    (18, "sandboxes pile up", Break::Story(sandbox::piled_up)),
];
