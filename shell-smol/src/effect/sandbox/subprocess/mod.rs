//! Confined processes: what runs sandboxed work where there is no Docker, and skills that are
//! scripts.
//!
//! A sandbox is a directory of its own (`scratch`), and its task a process under a
//! [guard](crate::effect::tool::guard), which keeps it within limits and walls (`confine`), lets the
//! kernel count what it starts, and ends it with all of that. It sees the workspace and cannot
//! change it; it can write nothing but its own directory; it has no network, no environment of
//! ours, no other process's. What exactly was kept is said with every result, in a note. Where the
//! kernel cannot build the walls, nothing runs, unless the configuration says so by name; then the
//! note says that too.

pub(crate) mod confine;
#[cfg(target_os = "linux")]
mod filter;
mod scratch;
mod task;

use self::confine::{Confinement, Walls};
use self::scratch::Scratch;
use self::task::Work;
use crate::effect::Stop;
use crate::effect::tool::guarded::{self, Bounds, Guarded, NotRun};
use crate::effect::tool::hold::{Hold, Limits, size};
use crate::effect::tool::process::{Launch, What};
use crate::secret::Secrets;
use openpista_core::effect::Chunk;
use openpista_core::effect::sandbox::{Action, Done, Ended, SandboxFault, Task, UseSandbox};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// What the engine is built from.
#[derive(Clone, Debug)]
pub struct SubprocessConfig {
    /// What tasks may read, and skills lie in.
    pub workspace: PathBuf,
    /// Where each sandbox gets a directory of its own. It is made when it is needed, for this user
    /// alone, and must not be in the workspace.
    pub scratch_root: PathBuf,
    /// Our own program, which guards what runs.
    pub guard: PathBuf,
    /// How many characters of each stream are kept.
    pub output_chars: usize,
    /// What nobody may see of the output.
    pub secrets: Secrets,
    /// How much memory each process may have, and all of one task together, in bytes.
    pub memory_bytes: u64,
    /// How many processes and threads a task may have at one time.
    pub processes: u64,
    /// The largest file that a task may write, in bytes.
    pub file_bytes: u64,
    /// Run also where the kernel cannot confine.
    pub unconfined: bool,
}

/// The engine. The default one has no place to work in.
#[derive(Debug, Default)]
pub struct Subprocess {
    config: Option<SubprocessConfig>,
    confinement: OnceLock<Result<Confinement, String>>,
}

/// Where a sandbox is, all without links.
struct Place {
    workspace: PathBuf,
    scratch: Scratch,
}

impl Subprocess {
    /// An engine that works as configured. What the kernel can do is looked at when it is needed.
    pub fn new(config: SubprocessConfig) -> Subprocess {
        Subprocess {
            config: Some(config),
            confinement: OnceLock::new(),
        }
    }

    /// How tasks are confined here. It is really tried, once.
    ///
    /// # Errors
    /// Why they cannot be.
    pub fn confinement(&self) -> Result<Confinement, String> {
        self.confinement.get_or_init(confine::probe).clone()
    }

    /// Performs one action.
    pub async fn perform(
        &self,
        used: &UseSandbox,
        stop: &Stop,
        progress: &impl Fn(Chunk),
    ) -> Result<Done, SandboxFault> {
        let config = self.config.as_ref().ok_or_else(|| {
            unavailable("the configuration gives processes no place to work in".to_owned())
        })?;
        let scratch = Scratch::new(&config.scratch_root, used.sandbox);
        if used.serves_turn() && stop.is_requested() {
            return Err(SandboxFault::Cancelled);
        }
        match &used.action {
            Action::Create(task) => self.create(config, scratch, task).await,
            Action::Run(task) => {
                let timeout_ms = used.timeout_ms.min(task.timeout_ms);
                self.run(config, scratch, task, timeout_ms, stop, progress)
                    .await
            }
            // It ended with the program that started it.
            Action::Resume(_) => Err(SandboxFault::Lost),
            Action::Destroy => {
                let dir = scratch.clone();
                blocking::unblock(move || dir.remove())
                    .await
                    .map_err(|error| {
                        failed(format!(
                            "cannot remove {}: {error}",
                            scratch.dir().display()
                        ))
                    })?;
                Ok(Done::Destroyed)
            }
        }
    }

    async fn create(
        &self,
        config: &SubprocessConfig,
        scratch: Scratch,
        task: &Task,
    ) -> Result<Done, SandboxFault> {
        let _how = decide(self.confinement(), config.unconfined)?;
        let (config, task) = (config.clone(), task.clone());
        blocking::unblock(move || {
            let made = scratch.make();
            let place = made.map_err(|error| {
                let dir = scratch.dir().display();
                unavailable(format!("cannot make the directory {dir}: {error}"))
            });
            let checked = place
                .and_then(|()| Place::find(&config, scratch.clone()))
                .and_then(|place| place.work(&task));
            match checked {
                Ok(_) => Ok(Done::Created { token: None }),
                Err(fault) => {
                    // Nothing is left of what cannot be used; what cannot be removed is reaped.
                    let _ = scratch.remove();
                    Err(fault)
                }
            }
        })
        .await
    }

    async fn run(
        &self,
        config: &SubprocessConfig,
        scratch: Scratch,
        task: &Task,
        timeout_ms: u64,
        stop: &Stop,
        progress: &impl Fn(Chunk),
    ) -> Result<Done, SandboxFault> {
        if !scratch.files().is_dir() || scratch.input().exists() {
            return Err(SandboxFault::Lost);
        }
        let place = Place::find(config, scratch)?;
        let work = place.work(task)?;
        let confinement = decide(self.confinement(), config.unconfined)?;
        let limits = config.limits(&work);
        let mut env = task::base_env(&place.workspace, &place.scratch.files());
        env.extend(work.env);
        let hold = Hold {
            program: work.program,
            args: work.args,
            env,
            input: place.scratch.input(),
            limits,
            walls: confinement.is_ok().then(|| place.walls()),
        };
        place.write(&hold, task).map_err(|error| {
            failed(format!(
                "cannot write to {}: {error}",
                place.scratch.dir().display()
            ))
        })?;
        let launch = Launch {
            guard: &config.guard,
            what: What::Held(&place.scratch.hold()),
            dir: Some(&work.dir),
        };
        let bounds = Bounds {
            timeout_ms: timeout_ms.min(work.timeout_ms.unwrap_or(u64::MAX)),
            output_chars: config.output_chars,
            secrets: &config.secrets,
        };
        match guarded::run(&launch, &bounds, stop, progress).await {
            Ok(Guarded {
                ran,
                kept,
                exceeded,
            }) => {
                let note = note(&limits, &confinement, kept, &work.ignored);
                let note = match exceeded {
                    Some(limit) => format!("ended because it used {limit}; {note}"),
                    None => note,
                };
                Ok(Done::Ended(Ended {
                    ran,
                    note: Some(note),
                }))
            }
            Err(NotRun::Guard(error)) => Err(failed(guarded::not_started(&error, &config.guard))),
            Err(NotRun::Program(why)) => Err(failed(why)),
        }
    }
}

/// Whether a task may run: confined so, or knowingly not, for this reason.
fn decide(
    confinement: Result<Confinement, String>,
    unconfined: bool,
) -> Result<Result<Confinement, String>, SandboxFault> {
    match confinement {
        Err(why) if !unconfined => Err(unavailable(format!(
            "processes cannot be confined here: {why}; install Docker, or set \
             `sandbox.unconfined = true` to let them run with all rights of this user"
        ))),
        decided => Ok(decided),
    }
}

impl SubprocessConfig {
    /// The task may have asked for less.
    fn limits(&self, work: &Work) -> Limits {
        let least = |ours: u64, asked: Option<u64>| asked.map_or(ours, |asked| asked.min(ours));
        Limits {
            memory_bytes: least(self.memory_bytes, work.memory_bytes),
            processes: least(self.processes, work.processes),
            file_bytes: self.file_bytes,
        }
    }
}

impl Place {
    fn find(config: &SubprocessConfig, scratch: Scratch) -> Result<Place, SandboxFault> {
        let real = |path: &Path| {
            path.canonicalize().map_err(|error| {
                unavailable(format!("there is no directory {}: {error}", path.display()))
            })
        };
        let workspace = real(&config.workspace)?;
        let scratch = Scratch::at(real(scratch.dir())?);
        if let Some(why) = super::exposed(&workspace, [scratch.dir()]) {
            return Err(unavailable(why));
        }
        Ok(Place { workspace, scratch })
    }

    fn work(&self, task: &Task) -> Result<Work, SandboxFault> {
        Work::of(task, &self.workspace, &self.scratch.files())
    }

    fn walls(&self) -> Walls {
        Walls {
            read: vec![self.workspace.clone()],
            write: vec![self.scratch.files()],
        }
    }

    fn write(&self, hold: &Hold, task: &Task) -> std::io::Result<()> {
        self.scratch
            .write(&self.scratch.hold(), &serde_json::to_vec(hold)?)?;
        self.scratch
            .write(&self.scratch.input(), task.arguments.as_bytes())
    }
}

/// What the model is told of the place that a task ran in.
fn note(
    limits: &Limits,
    confinement: &Result<Confinement, String>,
    kept: Option<String>,
    ignored: &[String],
) -> String {
    let mut note = match confinement {
        Ok(confinement) => format!(
            "confined by {confinement}: workspace read-only, only $TMPDIR writable, no network, \
             modes and times of files fixed"
        ),
        Err(why) => format!("NOT confined ({why}): it ran with all rights of this user"),
    };
    note.push_str(&format!(
        "; at most {} of memory, {} a file, {} processes",
        size(limits.memory_bytes),
        size(limits.file_bytes),
        limits.processes,
    ));
    if let Some(how) = kept {
        note.push_str(&format!(": {how}"));
    }
    if !ignored.is_empty() {
        let ignored = ignored.join(", ");
        note.push_str(&format!("; no container, so without effect: {ignored}"));
    }
    note
}

fn unavailable(message: String) -> SandboxFault {
    SandboxFault::Unavailable { message }
}

fn failed(message: String) -> SandboxFault {
    SandboxFault::Failed { message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_confined_is_refused_unless_it_is_allowed() {
        let cannot = || Err("this kernel has no Landlock".to_owned());
        let Err(SandboxFault::Unavailable { message }) = decide(cannot(), false) else {
            panic!("it would run");
        };
        assert!(message.contains("no Landlock"), "{message}");
        assert!(message.contains("sandbox.unconfined = true"), "{message}");
        assert_eq!(decide(cannot(), true), Ok(cannot()));
        let can = || Ok(Confinement { landlock: 7 });
        assert_eq!(decide(can(), false), Ok(can()));
        // To allow it is not to wish it.
        assert_eq!(decide(can(), true), Ok(can()));
    }
}
