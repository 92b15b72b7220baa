//! The tools of the desktop, each call done by the companion `openpista-desktop`.
//!
//! The companion is asked once, when the tools are made, which of its tools can be used: only
//! those are offered. It is started anew at the first call, and kept while it lives. There is one
//! desktop, so calls wait for each other; one that is dropped takes the companion with it. What
//! the companion says went wrong before anything was done is a fault; all else is a run.

use super::clip::Capture;
use crate::companion::Companion;
use crate::desktop::{Ability, Ask, Call, Done, End, Lack, PROGRAM, Shot, Told};
use crate::effect::Stop;
use crate::secret::Secrets;
use async_io::Timer;
use futures_lite::FutureExt;
use openpista_core::effect::Chunk;
use openpista_core::effect::tool::{Exit, Ran, RunTool, ToolFault};
use openpista_core::message::{Picture, ToolSpec};
use smol::lock::Mutex;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a companion may take to start and to say what it can do.
const START: Duration = Duration::from_secs(5);
/// How long a call may go on after it was to end.
const GRACE: Duration = Duration::from_secs(3);

/// Variables that say where a session's desktop is, how to speak to people, and where programs
/// and their files are. A companion gets no other.
const VARIABLES: [&str; 11] = [
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "HOME",
    "LANG",
    "LANGUAGE",
    "LOGNAME",
    "PATH",
    "TESSDATA_PREFIX",
    "USER",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
];
/// How the names of more of them begin.
const FAMILIES: [&str; 2] = ["LC_", "XDG_"];

/// How the companion is reached, and what it is told.
#[derive(Clone, Debug)]
pub struct DesktopConfig {
    /// The companion's program.
    pub program: PathBuf,
    /// Where each session has its folder for files.
    pub files_dir: PathBuf,
    /// The model sees pictures.
    pub shown: bool,
    /// How many characters of a result are kept.
    pub output_chars: usize,
    /// What it must not see, and nobody must see of what it says.
    pub secrets: Secrets,
}

/// The desktop of this machine. Clones share it.
#[derive(Clone, Debug)]
pub struct Desktop(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: DesktopConfig,
    specs: Vec<ToolSpec>,
    /// The companion, while no call has it.
    idle: Mutex<Option<Companion>>,
    /// How many calls there were.
    calls: AtomicU64,
}

impl Desktop {
    /// Looks once for what can be offered. Whoever used the desktop before is gone: what they still
    /// hold down comes up first.
    pub fn new(config: DesktopConfig) -> Desktop {
        let abilities = ask(&config, &[Ask::Release, Ask::Abilities]).unwrap_or_default();
        let specs = abilities.into_iter().filter_map(|one| one.offer.ok());
        Desktop(Arc::new(Shared {
            specs: specs.collect(),
            config,
            idle: Mutex::new(None),
            calls: AtomicU64::new(0),
        }))
    }

    /// What the model is told.
    pub(super) fn specs(&self) -> &[ToolSpec] {
        &self.0.specs
    }

    /// It has this tool.
    pub(super) fn has(&self, tool: &str) -> bool {
        self.0.specs.iter().any(|spec| spec.name == tool)
    }

    /// Runs one call, for the session of this name.
    pub(super) async fn run(
        &self,
        run: &RunTool,
        session: &str,
        stop: &Stop,
        progress: &impl Fn(Chunk),
    ) -> Result<Ran, ToolFault> {
        let began = Instant::now();
        let limit = began + Duration::from_millis(run.timeout_ms);
        let waiting = async { Ok(self.0.idle.lock().await) };
        let stopped = async {
            stop.requested().await;
            Err(ToolFault::Cancelled)
        };
        let late = async {
            Timer::at(limit).await;
            Err(could_not("another call has the desktop"))
        };
        let mut idle = waiting.or(stopped).or(late).await?;
        let asking = Asking {
            shared: &self.0,
            stop,
            progress,
            limit,
            call: Call {
                id: self.0.calls.fetch_add(1, Ordering::Relaxed) + 1,
                session: session.to_owned(),
                tool: run.tool.clone(),
                arguments: run.arguments.clone(),
                folder: folder(&self.0.config.files_dir, session),
                shown: self.0.config.shown,
                // What it has waited is gone.
                timeout_ms: millis(limit.saturating_duration_since(Instant::now())),
            },
        };
        let (end, companion) = asking.perform(idle.take()).await?;
        *idle = companion;
        self.ended(end, began)
    }

    /// How a call came out, for the core.
    fn ended(&self, end: End, began: Instant) -> Result<Ran, ToolFault> {
        let clip = |text: &str| {
            let config = &self.0.config;
            let mut capture = Capture::new(config.output_chars, &config.secrets);
            capture.push(text.as_bytes());
            capture.finish()
        };
        let mut seen = Vec::new();
        let (exit, said, failed) = match end {
            End::Done(Done { text, pictures }) => {
                seen.extend(pictures.into_iter().filter_map(picture));
                (Exit::Code(0), text, String::new())
            }
            End::Refused { message } => return Err(ToolFault::Arguments { message }),
            End::Unable { message } => return Err(ToolFault::Start { message }),
            End::Failed { message } => (Exit::Code(1), String::new(), message),
            End::Stopped { message } => (Exit::Cancelled, String::new(), message),
            End::TimedOut { message } => (Exit::TimedOut, String::new(), message),
        };
        Ok(Ran {
            exit,
            stdout: clip(&said),
            stderr: clip(&failed),
            took_ms: millis(began.elapsed()),
            pictures: seen,
        })
    }
}

/// One call on its way. It owns the companion meanwhile, so that dropping the one ends the other.
struct Asking<'a, P> {
    shared: &'a Shared,
    stop: &'a Stop,
    progress: &'a P,
    limit: Instant,
    call: Call,
}

/// What comes next while a call runs.
enum Next {
    Told(io::Result<Told>),
    Stop,
    Late,
}

impl<P: Fn(Chunk)> Asking<'_, P> {
    /// How the call ended, and the companion if that goes on.
    async fn perform(self, idle: Option<Companion>) -> Result<(End, Option<Companion>), ToolFault> {
        let id = self.call.id;
        let mut companion = self.hand_over(idle).await?;
        let mut stopping = false;
        // It ends late calls by itself: this is for one that does not.
        let mut limit = self.limit + GRACE;
        loop {
            let told = async { Next::Told(companion.hear().await) };
            let stop = async {
                match stopping {
                    true => std::future::pending().await,
                    false => self.stop.requested().await,
                }
                Next::Stop
            };
            let late = async {
                Timer::at(limit).await;
                Next::Late
            };
            match told.or(stop).or(late).await {
                Next::Told(Ok(Told::Ended { id: ended, end })) if ended == id => {
                    return Ok((end, Some(companion)));
                }
                Next::Told(Ok(Told::Progress { text, .. })) => {
                    let text = self.shared.config.secrets.redact(&text).into_owned();
                    (self.progress)(Chunk::Output(text));
                }
                Next::Told(Ok(_)) => {}
                Next::Told(Err(error)) => return Ok((gone(&error), None)),
                Next::Stop => {
                    stopping = true;
                    limit = limit.min(Instant::now() + GRACE);
                    // If it is gone, hearing it says so.
                    let _ = companion.say(&Ask::Stop { id }).await;
                }
                Next::Late => {
                    let message = format!("{PROGRAM} did not end it, and was ended itself");
                    let end = match stopping {
                        true => End::Stopped { message },
                        false => End::TimedOut { message },
                    };
                    companion.kill();
                    return Ok((end, None));
                }
            }
        }
    }

    /// Gives the call to the companion: to the one that is there, or if that has ended while it
    /// had nothing to do, to a new one.
    async fn hand_over(&self, idle: Option<Companion>) -> Result<Companion, ToolFault> {
        let ask = Ask::Call(self.call.clone());
        if let Some(companion) = idle
            && companion.say(&ask).await.is_ok()
        {
            return Ok(companion);
        }
        let started = start(&self.shared.config).await;
        let companion =
            started.map_err(|lack| could_not(&format!("{}: {}", lack.why, lack.mend)))?;
        match companion.say(&ask).await {
            Ok(()) => Ok(companion),
            Err(error) => Err(could_not(&format!("{PROGRAM} ended at once: {error}"))),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A picture for the core. Paths that are not UTF-8 cannot be told to it.
fn picture(shot: Shot) -> Option<Picture> {
    let text = |path: PathBuf| path.into_os_string().into_string().ok();
    Some(Picture {
        path: text(shot.path)?,
        width: shot.width,
        height: shot.height,
        small: shot.small.and_then(text),
    })
}

fn could_not(message: &str) -> ToolFault {
    let message = message.to_owned();
    ToolFault::Start { message }
}

fn gone(error: &io::Error) -> End {
    End::Failed {
        message: format!(
            "{PROGRAM} ended in the middle of it ({error}): some of it may have been done"
        ),
    }
}

/// Where a display or a desktop's session would be: none of it is known.
pub fn no_display() -> Option<Lack> {
    let has = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let places = ["DISPLAY", "WAYLAND_DISPLAY"];
    (cfg!(target_os = "linux") && !places.into_iter().any(has)).then(|| Lack {
        why: "there is no display: neither DISPLAY nor WAYLAND_DISPLAY is set".to_owned(),
        mend: "start openpistacrab within a desktop's session, or set DISPLAY for it".to_owned(),
    })
}

/// What can be done with the desktop here and now.
///
/// # Errors
/// Why nothing can, and what to do about it.
pub fn survey(config: &DesktopConfig) -> Result<Vec<Ability>, Lack> {
    ask(config, &[Ask::Abilities])
}

/// Starts a companion for these questions alone, the last of which is for its abilities.
fn ask(config: &DesktopConfig, questions: &[Ask]) -> Result<Vec<Ability>, Lack> {
    if let Some(lack) = no_display() {
        return Err(lack);
    }
    let asked = async {
        let mut companion = start(config).await?;
        let both = async {
            for question in questions {
                companion.say(question).await?;
            }
            loop {
                if let Told::Abilities(abilities) = companion.hear().await? {
                    return Ok(abilities);
                }
            }
        };
        let answered = both.or(late()).await;
        answered.map_err(|error| broken(&config.program, &error))
    };
    smol::block_on(asked)
}

async fn start(config: &DesktopConfig) -> Result<Companion, Lack> {
    // Collected, for what reads our environment may not cross to another thread.
    let environment: Vec<_> = environment(&config.secrets).collect();
    let started = Companion::start(&config.program, environment);
    let started = started.or(late()).await;
    started.map_err(|error| broken(&config.program, &error))
}

async fn late<T>() -> io::Result<T> {
    Timer::after(START).await;
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        "it does not answer in time",
    ))
}

fn broken(program: &Path, error: &io::Error) -> Lack {
    let shown = program.display();
    match error.kind() {
        io::ErrorKind::NotFound => Lack {
            why: format!("there is no program {shown}, which is built with the feature `desktop`"),
            mend: "install a release, or build with --features desktop, see the README".to_owned(),
        },
        _ => Lack {
            why: format!("{shown} does not work: {error}"),
            mend: format!("see what `ldd {shown}` says is missing, and install it"),
        },
    }
}

/// What a companion is given of our environment.
fn environment(secrets: &Secrets) -> impl Iterator<Item = (OsString, OsString)> {
    let hidden = secrets.hidden_variables(std::env::vars_os());
    std::env::vars_os().filter(move |(name, _)| {
        let known = name.to_str().is_some_and(|name| {
            VARIABLES.contains(&name) || FAMILIES.iter().any(|start| name.starts_with(start))
        });
        known && !hidden.contains(name)
    })
}

/// The folder for a session's files: that of a chat in Telegram is where its files go too.
fn folder(files_dir: &Path, session: &str) -> PathBuf {
    let name = session.strip_prefix("telegram:").unwrap_or(session);
    let plain = |c: char| match c.is_alphanumeric() || "._-".contains(c) {
        true => c,
        false => '_',
    };
    let name: String = name.chars().map(plain).take(80).collect();
    match name.trim_start_matches('.') {
        "" => files_dir.join("session"),
        name => files_dir.join(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn a_session_has_one_folder_below_the_others() {
        let folder = |session: &str| folder(Path::new("/w/files"), session);
        assert_eq!(folder("telegram:-5:3"), Path::new("/w/files/-5_3"));
        assert_eq!(folder("cli:local"), Path::new("/w/files/cli_local"));
        assert_eq!(folder("../../etc"), Path::new("/w/files/_.._etc"));
        assert_eq!(folder(".."), Path::new("/w/files/session"));
        assert_eq!(folder(""), Path::new("/w/files/session"));
    }

    #[test]
    fn a_companion_sees_no_variable_that_it_has_no_use_for() {
        let path = std::env::var("PATH").unwrap();
        let names = |secrets: &Secrets| -> Vec<OsString> {
            environment(secrets).map(|(name, _)| name).collect()
        };
        let seen = names(&Secrets::default());
        assert!(
            seen.contains(&"PATH".into()) && !seen.contains(&"CARGO".into()),
            "{seen:?}"
        );
        let secrets = Secrets::new([("KEY", Secret::new(&path))]);
        assert!(!names(&secrets).contains(&"PATH".into()));
    }

    #[test]
    fn a_program_that_is_not_there_is_named_with_its_cure() {
        let config = DesktopConfig {
            program: "/nowhere/openpista-desktop".into(),
            files_dir: PathBuf::new(),
            shown: false,
            output_chars: 100,
            secrets: Secrets::default(),
        };
        let lack = smol::block_on(start(&config)).unwrap_err();
        assert!(
            lack.why.contains("no program /nowhere/openpista-desktop"),
            "{lack:?}"
        );
        assert!(lack.mend.contains("--features desktop"), "{lack:?}");
    }
}
