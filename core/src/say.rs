//! Every sentence that the core says, to people and to the model: what happened, and what to do.

use crate::effect::model::ModelFault;
use crate::settings::Settings;
use alloc::format;
use alloc::string::String;

pub(crate) fn help() -> &'static str {
    "Write what you want done; I use the tools of this computer and report.\n\n\
     - `! COMMAND` or `run COMMAND` runs a command\n\
     - `/stop` ends what is going on and drops what waits\n\
     - `/new` starts afresh, with nothing remembered of this conversation\n\
     - `/status` says what is going on\n\
     - `/help` shows this"
}

pub(crate) fn stopped(messages: usize) -> String {
    match messages {
        0 | 1 => String::from("Stopped."),
        n => format!("Stopped. {n} messages end with this."),
    }
}

pub(crate) fn nothing_to_stop() -> &'static str {
    "There is nothing to stop."
}

pub(crate) fn not_theirs() -> &'static str {
    "You may stop only what answers a message of yours, or goes on where you write from. The owner \
     may stop anything."
}

pub(crate) fn not_theirs_to_answer() -> &'static str {
    "You may answer only questions about messages of yours. The owner may answer any."
}

pub(crate) fn afresh() -> &'static str {
    "This conversation starts afresh."
}

/// What `/status` tells about a session.
pub(crate) struct Status<'a> {
    pub(crate) name: &'a str,
    pub(crate) round: Option<u16>,
    pub(crate) effects: usize,
    pub(crate) waiting: usize,
    pub(crate) questions: usize,
    pub(crate) remembered: usize,
}

pub(crate) fn status(settings: &Settings, status: &Status<'_>) -> String {
    let doing = match status.round {
        Some(round) => format!("working (round {round}, {} under way)", status.effects),
        None => String::from("idle"),
    };
    format!(
        "Session `{}`: {doing}; {} waiting, {} to be approved, {} entries in the transcript.\n\
         Model: {} of provider {}.",
        status.name,
        count(status.waiting, "message"),
        count(status.questions, "call"),
        status.remembered,
        settings.model,
        settings.provider,
    )
}

fn count(n: usize, noun: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{n} {noun}{plural}")
}

pub(crate) fn turned_away() -> &'static str {
    "This very message was turned away before. Write it again as a new one."
}

pub(crate) fn denied_by_policy(reason: &str) -> String {
    format!("denied, nothing ran: {reason}")
}

pub(crate) fn denied_by_person() -> &'static str {
    "denied, nothing ran: the person said no. Do not try it another way; ask them what they want."
}

pub(crate) fn nobody_answered() -> &'static str {
    "denied, nothing ran: nobody answered the question in time."
}

pub(crate) fn stopped_before_end() -> &'static str {
    "stopped before it ended"
}

pub(crate) fn may_have_run() -> &'static str {
    "in doubt: the program stopped, or heard nothing, while this ran. It may have run, wholly or in \
     part, or not at all, and was not run again. Check what it did before you repeat it."
}

pub(crate) fn in_doubt(tool: &str, arguments: &str) -> String {
    format!(
        "Interrupted: `{tool}` {arguments} may have run, wholly or in part, or not at all. It was \
         not run again."
    )
}

pub(crate) fn too_many_sandboxes(most: usize) -> String {
    format!(
        "{most} sandboxes of this session stand or wait to be removed, which is the most. Nothing \
         ran for this call; try again later."
    )
}

pub(crate) fn too_many_calls(most: u16) -> String {
    format!("Too many calls in one reply: at most {most} run. Nothing ran for this one.")
}

pub(crate) fn out_of_rounds(rounds: u16) -> String {
    format!(
        "I stopped after {rounds} rounds of tools without coming to an end. Say \"go on\" to let me \
         continue, or raise [agent] max_tool_rounds."
    )
}

pub(crate) fn no_progress(times: u16) -> String {
    format!(
        "I stopped because I was getting nowhere: the same call gave the same result {times} times. \
         Tell me what to do differently."
    )
}

pub(crate) fn turn_too_large(bytes: usize) -> String {
    format!(
        "I stopped because this turn has gathered more than {bytes} bytes. Ask for less at a time, \
         or raise [limits] turn_bytes."
    )
}

pub(crate) fn out_of_time(ms: u64) -> String {
    format!(
        "I stopped because this turn took longer than {} s. Ask for less at a time, or raise \
         [limits] turn_ms.",
        ms / 1000
    )
}

/// A few words for a progress line.
pub(crate) fn waiting_for(fault: &ModelFault) -> String {
    match fault {
        ModelFault::RateLimited { .. } => String::from("the provider is busy (429)"),
        ModelFault::Server { status, .. } => format!("the provider has trouble ({status})"),
        ModelFault::Network { message } => format!("no connection: {message}"),
        ModelFault::TimedOut => String::from("the model took too long"),
        ModelFault::Empty => String::from("the reply was empty"),
        ModelFault::Garbled { .. } => String::from("the reply could not be read"),
        ModelFault::Rejected { status, .. } => format!("refused ({status})"),
        ModelFault::Cancelled => String::from("stopped"),
    }
}

/// Why a turn failed at its model call, and what to do about it.
pub(crate) fn model_failed(settings: &Settings, attempts: u16, fault: &ModelFault) -> String {
    let provider = &settings.provider;
    let tries = match attempts {
        0 | 1 => String::new(),
        n => format!(" after {n} tries"),
    };
    match fault {
        ModelFault::RateLimited {
            retry_after_ms,
            message,
        } => {
            let when = match retry_after_ms {
                Some(ms) => format!("in {} s", ms.div_ceil(1000)),
                None => String::from("later"),
            };
            format!(
                "{provider} is limiting requests{tries} (429: {message}). Send the message again {when}, or raise your limit there."
            )
        }
        ModelFault::Server { status, message } => format!(
            "{provider} had an error of its own{tries} ({status}: {message}). Send the message again later."
        ),
        ModelFault::Network { message } => format!(
            "{provider} could not be reached{tries}: {} Check the network and [agent] base_url, then send the message again.",
            sentence(message)
        ),
        ModelFault::TimedOut => format!(
            "{provider} did not answer in time{tries}. Send the message again, or raise [limits] model_timeout_ms."
        ),
        ModelFault::Empty => format!(
            "{provider} gave an empty reply{tries}. Send the message again, or choose another [agent] model."
        ),
        ModelFault::Garbled { message } => format!(
            "{provider} gave a reply that cannot be read{tries} ({message}). Is [agent] base_url an OpenAI-compatible server?"
        ),
        ModelFault::Rejected { status, message } => rejected(settings, *status, message),
        ModelFault::Cancelled => String::from("The model call was stopped."),
    }
}

/// A text with a full stop, unless it ends a sentence already.
fn sentence(text: &str) -> String {
    match text.ends_with(['.', '?', '!']) {
        true => String::from(text),
        false => format!("{text}."),
    }
}

fn rejected(settings: &Settings, status: u16, message: &str) -> String {
    let Settings {
        provider, model, ..
    } = settings;
    let cure = match status {
        401 => "Set a valid key in OPENPISTACRAB_API_KEY or [agent] api_key, then send the message again.".into(),
        403 => format!("The key may not use {model:?}: choose another [agent] model, or a key that may."),
        404 => format!("Check [agent] base_url, and that the model {model:?} exists there."),
        _ => format!("Check [agent] model ({model:?}) and base_url."),
    };
    format!("{provider} refused the request ({status}: {message}). {cure}")
}

pub(crate) fn admitted(peer: &str, let_in: bool) -> String {
    match let_in {
        true => format!("{peer} may write to me now. Take it back with /forbid {peer}."),
        false => format!("{peer} may not write to me any more."),
    }
}

pub(crate) fn job_had_no_room(name: &str, reason: &str) -> String {
    format!("The job {name:?} was due and did not run: {reason}")
}

pub(crate) fn job_came_late() -> &'static str {
    "the program was not running then, or the clock was set"
}
