//! The bot for Telegram: its token, which is checked, and whom it listens to.

use super::ask::Asker;
use super::{Answers, Setup, TOKEN_FILE};
use crate::command::Error;
use crate::config::env;
use crate::config::example::Value;
use crate::config::key::fault_of;
use crate::secret::Secret;
use crate::source::telegram::pairing::{Guest, Pairing, PairingError};
use crate::terminal::clean::neutralise;
use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

/// A bot that is to be.
#[derive(Default)]
struct Bot {
    /// Its token, if that is to be kept in a file of ours.
    token: Option<Secret>,
    /// The bot itself, if the server told of it.
    pairing: Option<Pairing>,
}

/// What the server says of a token.
enum Verdict {
    Known(Box<Pairing>),
    /// It cannot be asked, and the token is taken all the same.
    Unchecked,
    /// It is not taken, and why.
    Not(String),
}

/// Asks for a bot, and for its owner.
pub(super) fn ask(
    setup: &Setup<'_>,
    mut asker: Option<&mut Asker>,
    answers: &mut Answers,
) -> Result<(), Error> {
    let api_url = setup.options.telegram_api_url.as_ref();
    let api_url = api_url.unwrap_or(&setup.old.telegram.api_url);
    if let Some(expected) = fault_of("channels.telegram.api_url", api_url) {
        return Err(Error::usage(format!(
            "--telegram-api-url must be {expected}"
        )));
    }
    let Some(bot) = bot(setup, asker.as_deref_mut(), api_url, answers)? else {
        return Ok(());
    };
    answers
        .values
        .insert("channels.telegram.enabled", Value::Switch(true));
    if setup.options.telegram_api_url.is_some() || *api_url != default_api_url() {
        answers.set("channels.telegram.api_url", api_url);
    }
    if let Some(token) = bot.token {
        answers.keep("channels.telegram.token_file", TOKEN_FILE, token);
    }
    let owners = owners(setup, asker, bot.pairing)?;
    if !owners.is_empty() {
        let key = "channels.telegram.allowed_users";
        answers.values.insert(key, Value::Ids(owners));
    }
    Ok(())
}

fn default_api_url() -> String {
    crate::config::Telegram::default().api_url
}

/// The bot that the options, the environment or the person name; none when there is to be none.
fn bot(
    setup: &Setup<'_>,
    asker: Option<&mut Asker>,
    api_url: &str,
    answers: &mut Answers,
) -> Result<Option<Bot>, Error> {
    let held = setup.env.bot_token();
    if let Some(place) = &setup.options.telegram_token {
        let token = setup.secret(place)?;
        let Some(secret) = token.as_ref().or(held) else {
            answers.variables.push(env::BOT_TOKEN);
            return Ok(Some(Bot::default()));
        };
        let pairing = match verdict(secret, api_url, asker)? {
            Verdict::Known(pairing) => Some(*pairing),
            Verdict::Unchecked => None,
            Verdict::Not(why) => return Err(Error::usage(why)),
        };
        return Ok(Some(Bot { token, pairing }));
    }
    let old = &setup.old.telegram;
    let old_token = old.token.clone().filter(|_| old.enabled);
    let Some(asker) = asker else {
        // Without a word about it, it stays as it was.
        return Ok(old.enabled.then_some(Bot {
            token: old_token,
            pairing: None,
        }));
    };
    asker.say(
        "\nA bot in Telegram, to reach this computer from your phone? @BotFather gives you a token.",
    );
    let question = format!("{} is set. Use that bot?", env::BOT_TOKEN);
    if let Some(secret) = held
        && asker.yes(&question, true)?
        && let Some(pairing) = taken(secret, api_url, asker)?
    {
        let token = None;
        return Ok(Some(Bot { token, pairing }));
    }
    asked(asker, old_token, api_url)
}

/// Asks for a token until there is one that is taken, or none.
fn asked(asker: &mut Asker, mut old: Option<Secret>, api_url: &str) -> Result<Option<Bot>, Error> {
    loop {
        let otherwise = match old {
            Some(_) => "the one from before",
            None => "no bot",
        };
        let typed = asker.hidden(&format!("Token, not shown (Enter: {otherwise})"))?;
        let Some(secret) = typed.or_else(|| old.take()) else {
            return Ok(None);
        };
        if let Some(pairing) = taken(&secret, api_url, asker)? {
            let token = Some(secret);
            return Ok(Some(Bot { token, pairing }));
        }
    }
}

/// Has a token checked at the terminal. None when it is not taken, which was said.
#[expect(clippy::option_option, reason = "not taken, taken unchecked, taken")]
fn taken(
    secret: &Secret,
    api_url: &str,
    asker: &mut Asker,
) -> Result<Option<Option<Pairing>>, Error> {
    Ok(match verdict(secret, api_url, Some(asker))? {
        Verdict::Known(pairing) => Some(Some(*pairing)),
        Verdict::Unchecked => Some(None),
        Verdict::Not(why) => {
            asker.say(&format!("  {why}"));
            None
        }
    })
}

/// Asks the server who the bot is.
fn verdict(token: &Secret, api_url: &str, asker: Option<&mut Asker>) -> Result<Verdict, Error> {
    let mut pairing = Pairing::new(token, api_url);
    Ok(match (pairing.name(), asker) {
        (Ok(name), asker) => {
            if let Some(asker) = asker {
                asker.say(&format!("  It is @{}.", neutralise(&name)));
            }
            Verdict::Known(Box::new(pairing))
        }
        (Err(PairingError::Refused), _) => Verdict::Not(PairingError::Refused.to_string()),
        (Err(error), Some(asker)) => {
            asker.say(&format!("  {error}"));
            match asker.yes("  Take the token unchecked?", false)? {
                true => Verdict::Unchecked,
                false => Verdict::Not("the token was not taken".to_owned()),
            }
        }
        (Err(error), None) => {
            tracing::warn!("the token is taken unchecked: {error}");
            Verdict::Unchecked
        }
    })
}

/// Those whom the bot obeys.
fn owners(
    setup: &Setup<'_>,
    asker: Option<&mut Asker>,
    pairing: Option<Pairing>,
) -> Result<BTreeSet<u64>, Error> {
    if let Some(owner) = setup.options.owner {
        return Ok(BTreeSet::from([owner]));
    }
    let old = &setup.old.telegram.allowed_users;
    let (Some(asker), Some(pairing), true) = (asker, pairing, old.is_empty()) else {
        return Ok(old.clone());
    };
    let found = pair(asker, pairing)?;
    if found.is_none() {
        asker.say(
            "  Nobody yet. The bot tells whoever writes to it their id; let yourself in with\n  \
                   openpistacrab allow telegram:ID",
        );
    }
    Ok(found.into_iter().collect())
}

/// Waits until the owner writes to the bot, or skips it.
fn pair(asker: &mut Asker, pairing: Pairing) -> Result<Option<u64>, Error> {
    asker.say("  Whom does it obey? Write anything to it from your own account now. (Enter: skip)");
    let (guests, arriving) = channel();
    let (settle, to_settle) = channel();
    let listening = std::thread::spawn(move || listen(pairing, &guests, &to_settle));
    let found = wait(asker, &arriving)?;
    let owner = found.as_ref().map(|guest| guest.id);
    if let Some(guest) = found {
        // The one who listens has gone on: it is told, and waited for.
        let _ = settle.send(guest);
        drop(arriving);
        let _ = listening.join();
    }
    Ok(owner)
}

/// Passes on who writes, until nobody wants to know.
fn listen(
    mut pairing: Pairing,
    guests: &Sender<Result<Guest, PairingError>>,
    to_settle: &Receiver<Guest>,
) {
    loop {
        match to_settle.try_recv() {
            Ok(guest) => return pairing.settle(&guest),
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => {}
        }
        let heard = match pairing.listen() {
            Ok(heard) => heard.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        for one in heard {
            // Nobody listens any more when somebody was found: then it is to be settled.
            let _ = guests.send(one);
        }
    }
}

fn wait(
    asker: &mut Asker,
    arriving: &Receiver<Result<Guest, PairingError>>,
) -> Result<Option<Guest>, Error> {
    let mut complained = None;
    while !asker.entered()? {
        let Ok(heard) = arriving.try_recv() else {
            continue;
        };
        match heard {
            Ok(guest) => {
                let name = neutralise(&guest.name).replace('\n', " ");
                let question = format!("  {name} (id {}) wrote to it. Is that you?", guest.id);
                if asker.yes(&question, false)? {
                    return Ok(Some(guest));
                }
                asker.say("  Then it goes on waiting. (Enter: skip)");
            }
            Err(error) if complained.as_ref() != Some(&error) => {
                asker.say(&format!("  {error}; it is tried again. (Enter: skip)"));
                complained = Some(error);
            }
            Err(_) => {}
        }
    }
    Ok(None)
}
