//! Running a container's task: start it once, see it to its end, keep what it printed.
//!
//! Once it was started every way out of here is an end that is known, or
//! [`SandboxFault::Lost`]: it is killed when it takes too long, when it is to stop, and when
//! nobody waits for it any more. A connection that breaks is taken up again for a while.

use super::daemon::{ANSWER, Daemon, Kind, Trouble, WORK};
use super::output::{Output, Source};
use super::probe::{self, Found};
use super::{Acting, Shared, Shown, create, token};
use crate::secret::Secrets;
use bollard::Docker as Client;
use bollard::errors::Error;
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, KillContainerOptionsBuilder, LogsOptionsBuilder,
    StartContainerOptions, WaitContainerOptionsBuilder,
};
use futures_lite::StreamExt;
use futures_lite::future::or;
use openpista_core::effect::sandbox::{Done, Ended, Program, SandboxFault, Task};
use openpista_core::effect::tool::{Exit, Ran};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// How long a container may take to end when it was killed. The core gives an effect a few seconds
/// after its time is over, and then takes it for lost.
const KILLING: Duration = Duration::from_secs(4);

/// How long what a container printed may still be under way once it has ended; and once it was
/// killed, when there is no time left.
const DRAIN: Duration = Duration::from_secs(5);
const DRAIN_KILLED: Duration = Duration::from_millis(500);

/// How often, and how many times, to ask whether it was memory that something was killed for.
const ASK_MEMORY_EVERY: Duration = Duration::from_millis(100);
const ASK_MEMORY: usize = 5;

/// What a shell reports of a program that was killed: 128 and SIGKILL.
const KILLED: i64 = 137;

/// How much longer a worker has than its task, to report that the time was over.
const REPORTING: Duration = Duration::from_secs(3);

/// The same, of a worker that has to find the gateway again first: it gives a lost one up after
/// four seconds, and tries every two.
const FINDING: Duration = Duration::from_secs(10);

/// How long to look for a daemon that went away, and how often.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(200);

const OUT_OF_MEMORY: &str = "the container's memory was used up and a process killed for it; files \
                             in /tmp count too, and `memory_mb` can ask for more within the limit";

/// What is known of a task that was started.
struct Started<'a> {
    acting: &'a Acting,
    client: Client,
    container: String,
    /// Ours, and the task's token.
    secrets: Secrets,
    deadline: Instant,
    timeout_ms: u64,
    /// None when an earlier life of ours started it.
    began: Option<Instant>,
}

/// Why we no longer wait for the task.
enum Cause {
    Itself(i64),
    TimedOut,
    Stopped,
}

impl Acting {
    /// Starts the task and waits for its end.
    pub(super) async fn run(&self, task: &Task) -> Result<Done, SandboxFault> {
        let client = self.shared.daemon.client().await.map_err(create::failed)?;
        self.start(task, client).await
    }

    /// Starts the task, which was never started before.
    pub(super) async fn start(&self, task: &Task, client: Client) -> Result<Done, SandboxFault> {
        if self.stop.is_requested() {
            return Err(SandboxFault::Cancelled);
        }
        let timeout_ms = self.timeout_ms(task);
        let began = Instant::now();
        let deadline = began + Duration::from_millis(timeout_ms) + patience(task);
        let started = self.started(task, client, timeout_ms, deadline, Some(began));
        let started = started.await;
        let (daemon, container) = (&self.shared.daemon, &started.container);
        let source = started.attach().await.map_err(create::failed)?;
        let undo = KillOnDrop::new(self, &started.client);
        let start = started
            .client
            .start_container(container, None::<StartContainerOptions>);
        match daemon.ask(WORK, start).await {
            Ok(()) => {}
            Err(trouble) if trouble.kind == Kind::Unclear => {
                // It may have been started: nothing must run on, and nothing can be promised.
                kill(daemon, &started.client, container).await;
                undo.disarm();
                return Err(SandboxFault::Lost);
            }
            Err(trouble) => {
                undo.disarm();
                return Err(create::failed(trouble));
            }
        }
        let ended = started.see_through(Some(source)).await;
        undo.disarm();
        ended
    }

    /// Takes up a task that an earlier life of ours has started.
    pub(super) async fn take_up(
        &self,
        task: &Task,
        client: Client,
        ran_ms: u64,
    ) -> Result<Done, SandboxFault> {
        let timeout_ms = self.timeout_ms(task);
        let left = Duration::from_millis(timeout_ms.saturating_sub(ran_ms));
        let left = match task.program {
            // The core gives no effect more.
            Program::Worker => (left + FINDING).min(Duration::from_millis(timeout_ms) + REPORTING),
            Program::Command | Program::Skill { .. } => left,
        };
        let started = self.started(task, client, timeout_ms, Instant::now() + left, None);
        let started = started.await;
        let undo = KillOnDrop::new(self, &started.client);
        let ended = started.see_through(None).await;
        undo.disarm();
        ended
    }

    fn timeout_ms(&self, task: &Task) -> u64 {
        let asked = create::arguments(task, &self.shared.config).ok();
        let asked = asked.and_then(|arguments| arguments.timeout_ms);
        self.used.timeout_ms.min(asked.unwrap_or(u64::MAX))
    }

    async fn started(
        &self,
        task: &Task,
        client: Client,
        timeout_ms: u64,
        deadline: Instant,
        began: Option<Instant>,
    ) -> Started<'_> {
        let container = self.container();
        let mut secrets = self.shared.config.secrets.clone();
        if task.program == Program::Worker
            && let Some(token) = token::read(&self.shared.daemon, &client, &container).await
        {
            secrets = secrets.and("the token of a task", &token);
        }
        Started {
            acting: self,
            client,
            container,
            secrets,
            deadline,
            timeout_ms,
            began,
        }
    }
}

impl Started<'_> {
    fn daemon(&self) -> &Daemon {
        &self.acting.shared.daemon
    }

    /// What it prints from now on.
    async fn attach(&self) -> Result<Source, Trouble> {
        let options = AttachContainerOptionsBuilder::default()
            .stdout(true)
            .stderr(true)
            .stream(true)
            .build();
        let attached = self.client.attach_container(&self.container, Some(options));
        Ok(self.daemon().ask(ANSWER, attached).await?.output)
    }

    /// What its log has, and where it is followed what it prints from now on.
    fn logs(&self, follow: bool) -> Source {
        let options = LogsOptionsBuilder::default()
            .stdout(true)
            .stderr(true)
            .follow(follow)
            .build();
        Box::pin(self.client.logs(&self.container, Some(options)))
    }

    /// Waits for the end of it, also when the daemon goes away and comes back meanwhile. `attached`
    /// is what it prints from its start, where that is at hand.
    async fn see_through(&self, attached: Option<Source>) -> Result<Done, SandboxFault> {
        let mut whole = attached.is_some();
        let mut source = attached.unwrap_or_else(|| self.logs(true));
        loop {
            let shown = Some(self.acting.shown.clone());
            let mut output = self.output(source, shown);
            match self.cause(&mut output).await {
                Some(Cause::Itself(code)) => {
                    let output = self.settled(output, whole, DRAIN).await;
                    return Ok(self.ended(code, output).await);
                }
                Some(Cause::TimedOut) => {
                    return self.cut_short(Exit::TimedOut, output, whole).await;
                }
                Some(Cause::Stopped) => {
                    return self.cut_short(Exit::Cancelled, output, whole).await;
                }
                None => {
                    self.find_again().await?;
                    // All of it once more, since nobody knows what was missed.
                    (source, whole) = (self.logs(true), false);
                }
            }
        }
    }

    fn output(&self, source: Source, shown: Option<Shown>) -> Output {
        let chars = self.acting.shared.config.output_chars;
        Output::new(source, chars, &self.secrets, shown)
    }

    /// All that was printed, now that it has ended. Who follows a log may miss the end of it, so
    /// then the log is read once more.
    async fn settled(&self, mut output: Output, whole: bool, limit: Duration) -> Output {
        if whole && output.finishes_within(limit).await {
            return output;
        }
        let mut logged = self.output(self.logs(false), None);
        match logged.finishes_within(limit).await {
            true => logged,
            false => output,
        }
    }

    /// Why there is nothing more to wait for; none when the connection broke.
    async fn cause(&self, output: &mut Output) -> Option<Cause> {
        let itself = async {
            let code = exit_code(&self.client, &self.container).await;
            code.map(Cause::Itself)
        };
        let timed_out = async {
            tokio::time::sleep_until(self.deadline).await;
            Some(Cause::TimedOut)
        };
        let stopped = async {
            self.acting.stop.requested().await;
            Some(Cause::Stopped)
        };
        output.read_while(or(itself, or(timed_out, stopped))).await
    }

    /// Ends what is no longer to run, and keeps what it printed until then.
    async fn cut_short(
        &self,
        exit: Exit,
        mut output: Output,
        whole: bool,
    ) -> Result<Done, SandboxFault> {
        let killed = kill(self.daemon(), &self.client, &self.container);
        if !output.read_while(killed).await {
            return Err(SandboxFault::Lost);
        }
        let output = self.settled(output, whole, DRAIN_KILLED).await;
        let took_ms = self.began.map_or(self.timeout_ms, elapsed_ms);
        Ok(done(exit, took_ms, output, None))
    }

    /// It has ended by itself, or by what confines it.
    async fn ended(&self, code: i64, output: Output) -> Done {
        let mut found = Found::default();
        if code != 0 || self.began.is_none() {
            found = self.look_for_memory(code).await;
        }
        let took_ms = self.began.map_or(found.ran_ms, elapsed_ms);
        // An earlier life of ours may have killed it for that, and died.
        if self.began.is_none() && code == KILLED && took_ms >= self.timeout_ms {
            return done(Exit::TimedOut, took_ms, output, None);
        }
        let note = match (found.out_of_memory, code) {
            (true, _) => Some(OUT_OF_MEMORY.to_owned()),
            (false, KILLED) => Some(format!(
                "it was killed; if nothing in there did that: {OUT_OF_MEMORY}"
            )),
            (false, _) => None,
        };
        let exit = Exit::Code(i32::try_from(code).unwrap_or(i32::MAX));
        done(exit, took_ms, output, note)
    }

    /// What it looks like now that it has ended. Docker may hear of the end before it hears of what
    /// was killed for its memory.
    async fn look_for_memory(&self, code: i64) -> Found {
        let mut found = Found::default();
        for _ in 0..ASK_MEMORY {
            let looked = probe::look(self.daemon(), &self.client, &self.container).await;
            found = looked.unwrap_or(found);
            if found.out_of_memory || code != KILLED {
                break;
            }
            tokio::time::sleep(ASK_MEMORY_EVERY).await;
        }
        found
    }

    /// Looks for the container after the connection broke. Whatever is not found in time is still
    /// removed.
    async fn find_again(&self) -> Result<(), SandboxFault> {
        let now = Instant::now();
        let give_up = (now + PATIENCE).min(self.deadline.max(now) + KILLING);
        let found = async {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                match probe::look(self.daemon(), &self.client, &self.container).await {
                    Ok(found) if found.started => return Ok(()),
                    Ok(_) => return Err(SandboxFault::Lost),
                    Err(trouble) if trouble.kind == Kind::Absent => return Err(SandboxFault::Lost),
                    Err(_) => {}
                }
            }
        };
        let stopped = async {
            self.acting.stop.requested().await;
            Err(SandboxFault::Lost)
        };
        timeout_at(give_up, or(found, stopped))
            .await
            .unwrap_or(Err(SandboxFault::Lost))
    }
}

fn done(exit: Exit, took_ms: u64, output: Output, note: Option<String>) -> Done {
    let (stdout, stderr) = output.finish();
    let ran = Ran {
        exit,
        stdout,
        stderr,
        took_ms,
        pictures: Vec::new(),
    };
    Done::Ended(Ended { ran, note })
}

fn patience(task: &Task) -> Duration {
    match task.program {
        Program::Worker => REPORTING,
        Program::Command | Program::Skill { .. } => Duration::ZERO,
    }
}

fn elapsed_ms(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Waits for a container that was started to end; none when the connection broke.
async fn exit_code(client: &Client, container: &str) -> Option<i64> {
    let options = WaitContainerOptionsBuilder::default()
        .condition("not-running")
        .build();
    let mut waiting = client.wait_container(container, Some(options));
    match waiting.next().await? {
        Ok(ended) => Some(ended.status_code),
        Err(Error::DockerContainerWaitError { code, .. }) => Some(code),
        Err(_) => None,
    }
}

/// Kills what runs in a container, and says whether it is sure that nothing runs any more.
async fn kill(daemon: &Daemon, client: &Client, container: &str) -> bool {
    let options = KillContainerOptionsBuilder::default()
        .signal("SIGKILL")
        .build();
    let killed = async {
        let killed = client.kill_container(container, Some(options));
        match daemon.ask(ANSWER, killed).await {
            Ok(()) => exit_code(client, container).await.is_some(),
            // Gone, or ended already.
            Err(trouble) => matches!(trouble.kind, Kind::Absent | Kind::Conflict),
        }
    };
    timeout(KILLING, killed).await.unwrap_or(false)
}

/// Kills a container when nobody waits for its end any more.
struct KillOnDrop(Option<(Arc<Shared>, Client, String)>);

impl KillOnDrop {
    fn new(acting: &Acting, client: &Client) -> KillOnDrop {
        let shared = Arc::clone(&acting.shared);
        KillOnDrop(Some((shared, client.clone(), acting.container())))
    }

    /// It has ended.
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if let Some((shared, client, container)) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move { kill(&shared.daemon, &client, &container).await });
        }
    }
}
