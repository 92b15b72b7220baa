//! `repl`: a conversation at the terminal, or through a pipe.
//!
//! At a terminal the line editor has a thread of its own and its prompt always stands; what comes
//! in is printed above it, so a message can be sent, or the turn stopped, while it runs. Through a
//! pipe every line is a message that waits for the end of the one before.

use super::Error;
use super::args::ReplOptions;
use super::link::Link;
use super::run::read_lines;
use crate::config::Config;
use crate::driver::Leave;
use crate::effect::deliver::{Event, Showing};
use crate::source::cli::{Cli, ORIGIN};
use crate::source::signal::{self, Ending};
use crate::terminal::editor::{self, Printer, Typed};
use crate::terminal::progress;
use crate::terminal::writer::{note, to_stdout};
use crate::terminal::{Screen, markdown, prompt};
use async_channel::Receiver;
use async_io::Timer;
use futures_lite::{FutureExt, future};
use openpista_core::effect::deliver::{Body, DeliverFault, Delivered, Question};
use openpista_core::hint::{Activity, Hint};
use openpista_core::id::ApprovalId;
use openpista_core::input::Decision;
use std::collections::{BTreeSet, VecDeque};
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long a turn that was told to stop may take to do so.
const GRACE: Duration = Duration::from_secs(10);
/// After so long without news of a running turn, a person is told that it still runs.
const STILL: Duration = Duration::from_secs(15);
const GREETING: &str = "Type a message; /help lists the commands, /quit or Ctrl-D leaves.";

/// Talks until the person leaves.
///
/// # Errors
/// When the agent cannot be started, the terminal cannot be used, or the journal fails.
pub fn run(config: &Config, options: &ReplOptions) -> Result<ExitCode, Error> {
    let link = Link::open(config)?;
    let watch = signal::Watch::new().map_err(|error| {
        Error::failed(format!("cannot watch for signals: {error}; start again"))
    })?;
    let terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    // Dropped last: the terminal is left as it was found, even when the journal fails.
    let _restored = editor::Restored::new();
    let voice = match terminal {
        true => {
            let history = config.data_dir.join("history");
            let (typed, printer) = editor::start(history).map_err(|error| {
                Error::failed(format!(
                    "cannot use the terminal: {error}; pipe the messages in"
                ))
            })?;
            Voice::Terminal { typed, printer }
        }
        false => Voice::Pipe(read_lines()),
    };
    let front = Front {
        cli: Cli::new(link.handle.clone(), options.session.clone()),
        events: link.events.clone(),
        watch,
        voice,
        model: link.model(),
        out: Screen::of(&io::stdout()),
        pending: BTreeSet::new(),
        questions: VecDeque::new(),
        doing: None,
        leaving: None,
    };
    link.live(front.serve()).map(ExitCode::from)
}

/// How the person speaks and is spoken to.
enum Voice {
    /// A line editor whose prompt stands.
    Terminal {
        typed: Receiver<Typed>,
        printer: Printer,
    },
    /// Lines, with replies on standard output.
    Pipe(Receiver<String>),
}

/// The conversation as the person sees it.
struct Front {
    cli: Cli,
    events: Receiver<Event>,
    watch: signal::Watch,
    voice: Voice,
    model: String,
    out: Screen,
    /// The keys of messages that have not come to their end.
    pending: BTreeSet<String>,
    /// Questions that wait for an answer, the first of which was shown.
    questions: VecDeque<Question>,
    /// What goes on, since when, and when that was last said.
    doing: Option<(String, Instant, Instant)>,
    /// The exit code, once it is time to go.
    leaving: Option<u8>,
}

/// One thing to react to.
enum Happening {
    Event(Event),
    Signal(Ending),
    Typed(Typed),
    Still,
    Over,
}

impl Front {
    /// Talks. Returns the exit code.
    async fn serve(mut self) -> u8 {
        if let Voice::Terminal { .. } = self.voice {
            self.say(&self.out.faint(GREETING));
        }
        loop {
            match self.next().await {
                Happening::Event(Event::Hint(hint)) => self.hint(hint),
                Happening::Event(Event::Deliver(showing)) => self.show(showing).await,
                Happening::Signal(signal) => self.signal(signal).await,
                Happening::Typed(typed) => self.typed(typed).await,
                Happening::Still => self.still(),
                Happening::Over => return self.leaving.unwrap_or(1),
            }
        }
    }

    async fn next(&mut self) -> Happening {
        let event = async {
            match self.events.recv().await {
                Ok(event) => Happening::Event(event),
                Err(_) => Happening::Over,
            }
        };
        let (voice, leaving, waits) = (&self.voice, self.leaving, !self.pending.is_empty());
        let typed = async {
            let typed = match voice {
                _ if leaving.is_some() => future::pending().await,
                Voice::Terminal { typed, .. } => typed.recv().await.ok(),
                Voice::Pipe(_) if waits => future::pending().await,
                Voice::Pipe(lines) => lines.recv().await.ok().map(Typed::Line),
            };
            Happening::Typed(typed.unwrap_or(Typed::End))
        };
        let said = self.doing.as_ref().map(|(_, _, said)| *said);
        let still = async {
            match said {
                Some(said) => drop(Timer::at(said + STILL).await),
                None => future::pending().await,
            }
            Happening::Still
        };
        let signal = async { Happening::Signal(self.watch.next().await) };
        signal.or(event).or(typed).or(still).await
    }

    async fn typed(&mut self, typed: Typed) {
        match typed {
            Typed::Line(line) if !self.questions.is_empty() => self.answer(&line).await,
            Typed::Line(line) => match line.trim() {
                "" => {}
                text if editor::is_farewell(text) => self.leave().await,
                text => {
                    let key = self.cli.say(text.to_owned()).await;
                    self.pending.insert(key);
                }
            },
            Typed::Interrupt if self.is_busy() => {
                self.say("stopping…");
                self.cli.stop().await;
            }
            Typed::Interrupt => self.say("to leave: /quit or Ctrl-D"),
            Typed::End => self.leave().await,
        }
    }

    /// The person goes: what runs at a terminal is stopped, what came through a pipe has ended.
    async fn leave(&mut self) {
        self.leaving = Some(0);
        let leave = match self.is_busy() {
            true => {
                self.say("stopping what runs, then leaving; Ctrl-C leaves at once");
                self.cli.stop().await;
                Leave::Within(GRACE)
            }
            false => Leave::WhenIdle,
        };
        self.cli.handle().leave(leave);
    }

    async fn signal(&mut self, signal: Ending) {
        let code = signal.exit_code();
        if self.leaving.replace(code).is_some() {
            editor::restore();
            std::process::exit(code.into());
        }
        self.say("stopping; once more leaves at once");
        self.cli.stop().await;
        self.cli.handle().leave(Leave::Within(GRACE));
    }

    fn hint(&mut self, hint: Hint) {
        match hint {
            Hint::Show { name, activity, .. } if name == self.cli.session() => {
                self.activity(&activity);
            }
            Hint::Refuse { key, refusal, .. } => {
                self.pending.remove(&key);
                self.complain(refusal.reason());
            }
            Hint::Tell { text, .. } => self.say(&text),
            Hint::Answered { approval } => self.answered(approval),
            Hint::Show { .. } | Hint::Ack { .. } | Hint::Heard { .. } => {}
        }
    }

    fn activity(&mut self, activity: &Activity) {
        let now = Instant::now();
        let label = progress::label(activity, &self.model);
        let news = label.clone().or_else(|| progress::ended(activity));
        if let Some(what) = &news {
            tracing::info!(session = self.cli.session(), "{what}");
            self.whisper(what);
        }
        if news.is_some() {
            self.doing = label.map(|label| (label, now, now));
        }
    }

    /// Says that it still goes on.
    fn still(&mut self) {
        let now = Instant::now();
        if let Some((label, since, said)) = &mut self.doing {
            *said = now;
            let after = progress::seconds(now.saturating_duration_since(*since));
            let text = format!("still {label} {after}");
            self.whisper(&text);
        }
    }

    async fn show(&mut self, showing: Showing) {
        let delivery = &showing.delivery;
        let ours = delivery.ends.iter().filter(|end| end.origin == ORIGIN);
        let known = ours.filter(|end| self.pending.remove(&end.key)).count() > 0;
        if self.pending.is_empty() {
            self.doing = None;
        }
        let result = match &delivery.body {
            Body::Question(question) => {
                self.question(&showing.session, question.clone()).await;
                Ok(())
            }
            body => {
                let recovered = match (known, delivery.ends.is_empty()) {
                    (false, false) => "recovered answer to an earlier message",
                    _ => "",
                };
                let repeated = match delivery.repeated {
                    true => " (possibly repeated)",
                    false => "",
                };
                let whose = match showing.session == self.cli.session() {
                    true => String::new(),
                    false => format!(" in session {}", showing.session),
                };
                let heading = format!("{recovered}{whose}{repeated}");
                if !heading.is_empty() {
                    self.head(&format!("{}:", heading.trim_start()));
                }
                self.body(body).await
            }
        };
        let gone = |error: io::Error| DeliverFault::Gone {
            message: format!("cannot write to standard output: {error}"),
        };
        showing.done(result.map(|()| Delivered).map_err(gone));
    }

    async fn body(&mut self, body: &Body) -> io::Result<()> {
        let described = match body {
            Body::Picture(picture) => Some(picture.describe()),
            _ => None,
        };
        let text = described.as_deref().or(body.text()).unwrap_or_default();
        if let Body::Failure(_) = body {
            self.complain(text);
            return Ok(());
        }
        let text = markdown::render(text, self.out);
        match &mut self.voice {
            Voice::Terminal { printer, .. } => printer.print(&text),
            Voice::Pipe(_) => {
                let written = to_stdout(text).await;
                if let Err(error) = &written {
                    note(&format!("error: cannot write to standard output: {error}"));
                    self.leaving = Some(1);
                    self.cli.handle().leave(Leave::WhenIdle);
                }
                written
            }
        }
    }

    async fn question(&mut self, session: &str, question: Question) {
        if let Voice::Pipe(_) = self.voice {
            let text = format!(
                "denied, because there is no terminal to ask at: {}: {}\n\
                 mode = \"full\" under [policy] allows it",
                question.tool,
                progress::gist(&question.arguments),
            );
            note(&Screen::of(&io::stderr()).safe(&text));
            self.cli.decide(question.approval, Decision::Deny).await;
            return;
        }
        if session != self.cli.session() {
            self.whisper(&format!("in session {session}:"));
        }
        self.questions.push_back(question);
        if self.questions.len() == 1 {
            self.ask();
        }
    }

    /// Shows the first question that waits.
    fn ask(&mut self) {
        if let Some(question) = self.questions.front() {
            let text = format!("{}{}", prompt::question(question), prompt::ALLOW);
            self.say(&text);
        }
    }

    async fn answer(&mut self, line: &str) {
        match (prompt::answer(line), self.questions.front()) {
            (Some(decision), Some(question)) => {
                self.cli.decide(question.approval, decision).await;
                self.questions.pop_front();
            }
            _ => {
                self.say("a question waits: y allows it, s allows it for this session, n denies it")
            }
        }
        self.ask();
    }

    /// A question needs no answer any more. Those that the person here has answered are gone.
    fn answered(&mut self, approval: ApprovalId) {
        let asked = self.questions.front().map(|question| question.approval);
        self.questions
            .retain(|question| question.approval != approval);
        if asked == Some(approval) {
            self.say("that question needs no answer any more");
            self.ask();
        }
    }

    fn is_busy(&self) -> bool {
        !self.pending.is_empty() || self.doing.is_some()
    }

    /// Says something that is safe to show and may be lost.
    fn say(&mut self, text: &str) {
        match &mut self.voice {
            Voice::Terminal { printer, .. } => drop(printer.print(text)),
            Voice::Pipe(_) => note(text),
        }
    }

    /// Says what it is that follows. Through a pipe too: a repetition must be known for one.
    fn head(&mut self, text: &str) {
        match self.voice {
            Voice::Terminal { .. } => self.whisper(text),
            Voice::Pipe(_) => note(&Screen::of(&io::stderr()).safe(text)),
        }
    }

    /// Says at a terminal what goes on, in faint letters.
    fn whisper(&mut self, text: &str) {
        if let Voice::Terminal { printer, .. } = &mut self.voice {
            let text = self.out.faint(&self.out.safe(text));
            drop(printer.print(&text));
        }
    }

    fn complain(&mut self, text: &str) {
        match &mut self.voice {
            Voice::Terminal { printer, .. } => {
                drop(printer.print(&format!("error: {}", self.out.safe(text))));
            }
            Voice::Pipe(_) => note(&format!("error: {}", Screen::of(&io::stderr()).safe(text))),
        }
    }
}
