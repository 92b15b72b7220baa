//! `run`: one turn. The reply goes to standard output, everything else to standard error.
//!
//! The program leaves when its own message has come to its end and nothing else is in flight, so
//! that a command which an earlier life left to be finished is not killed on the way out.

use super::Error;
use super::args::RunOptions;
use super::link::Link;
use crate::config::Config;
use crate::driver::Leave;
use crate::effect::deliver::{Event, Showing};
use crate::source::cli::{Cli, ORIGIN};
use crate::source::signal::{self, Ending};
use crate::terminal::progress::{self, Spinner};
use crate::terminal::writer::{note, to_stdout};
use crate::terminal::{Screen, markdown, prompt};
use async_channel::Receiver;
use async_io::Timer;
use futures_lite::{FutureExt, future};
use openpista_core::effect::deliver::{Body, DeliverFault, Delivered, End, Question};
use openpista_core::hint::{Activity, Hint};
use openpista_core::input::Decision;
use std::collections::VecDeque;
use std::io::{self, BufRead, IsTerminal, Stderr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long a turn that was told to stop may take to do so.
const GRACE: Duration = Duration::from_secs(10);

/// Runs one turn.
///
/// # Errors
/// When the agent cannot be started, or its journal fails.
pub fn run(config: &Config, text: String, options: &RunOptions) -> Result<ExitCode, Error> {
    let link = Link::open(config)?;
    let watch = signal::Watch::new().map_err(|error| {
        Error::failed(format!("cannot watch for signals: {error}; start again"))
    })?;
    let err = Screen::of(&io::stderr());
    let front = Front {
        cli: Cli::new(link.handle.clone(), options.session.clone()),
        events: link.events.clone(),
        watch,
        model: link.model(),
        out: Screen::of(&io::stdout()),
        err,
        spinner: Spinner::new(io::stderr(), err),
        json: options.json,
        yes: options.yes,
        key: String::new(),
        began: Instant::now(),
        questions: VecDeque::new(),
        answers: None,
        end: None,
        stopped_by: None,
    };
    link.live(front.serve(text)).map(ExitCode::from)
}

/// The person who typed the command, and what they are shown.
struct Front {
    cli: Cli,
    events: Receiver<Event>,
    watch: signal::Watch,
    model: String,
    out: Screen,
    err: Screen,
    spinner: Spinner<Stderr>,
    json: bool,
    yes: bool,
    /// The message's key.
    key: String,
    began: Instant,
    /// Questions that wait for the person, the first of which they were asked.
    questions: VecDeque<Question>,
    /// What they type, once they were asked.
    answers: Option<Receiver<String>>,
    /// The exit code of the message's end.
    end: Option<u8>,
    stopped_by: Option<Ending>,
}

/// One thing to react to.
enum Happening {
    Event(Event),
    Signal(Ending),
    /// A line; none when no more can come.
    Typed(Option<String>),
    Frame,
    Over,
}

impl Front {
    /// Says the text and shows what comes of it. Returns the exit code.
    async fn serve(mut self, text: String) -> u8 {
        self.key = self.cli.say(text).await;
        loop {
            match self.next().await {
                Happening::Event(Event::Hint(hint)) => self.hint(hint),
                Happening::Event(Event::Deliver(showing)) => self.show(showing).await,
                Happening::Signal(signal) => self.signal(signal).await,
                Happening::Typed(line) => self.typed(line).await,
                Happening::Frame => self.spinner.draw(Instant::now()),
                Happening::Over => break,
            }
        }
        self.spinner.finish();
        match (self.stopped_by, self.end) {
            (Some(signal), _) => signal.exit_code(),
            (None, Some(code)) => code,
            (None, None) => {
                note(
                    "error: the program ended before the reply; run it again to see what became of it",
                );
                1
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
        let asked = !self.questions.is_empty();
        let answers = self.answers.as_ref().filter(|_| asked);
        let typed = async {
            match answers {
                Some(answers) => Happening::Typed(answers.recv().await.ok()),
                None => future::pending().await,
            }
        };
        let turning = self.spinner.is_turning() && !asked;
        let frame = async {
            match turning {
                true => drop(Timer::after(progress::FRAME).await),
                false => future::pending().await,
            }
            Happening::Frame
        };
        let signal = async { Happening::Signal(self.watch.next().await) };
        signal.or(event).or(typed).or(frame).await
    }

    fn hint(&mut self, hint: Hint) {
        match hint {
            Hint::Show { name, activity, .. } => self.activity(&name, &activity),
            Hint::Refuse { key, refusal, .. } if key == self.key => {
                self.note(&format!("error: {}", refusal.reason()));
                self.ended(1);
            }
            Hint::Tell { key, text, .. } if key == self.key => {
                self.note(&text);
                self.ended(0);
            }
            // Of the connection itself, not of a message.
            Hint::Tell { key, text, .. } if key.is_empty() => self.note(&text),
            Hint::Tell { .. }
            | Hint::Refuse { .. }
            | Hint::Ack { .. }
            | Hint::Answered { .. }
            | Hint::Heard { .. } => {}
        }
    }

    fn activity(&mut self, session: &str, activity: &Activity) {
        let label = progress::label(activity, &self.model);
        if let Some(what) = label.clone().or_else(|| progress::ended(activity)) {
            tracing::info!(session, "{what}");
        }
        let whose = match session == self.cli.session() {
            true => String::new(),
            false => format!("session {session}: "),
        };
        if let Some(label) = label {
            self.spinner.say(format!("{whose}{label}"), Instant::now());
        }
    }

    async fn show(&mut self, showing: Showing) {
        self.spinner.finish();
        let ours = |end: &End| end.origin == ORIGIN && end.key == self.key;
        let result = match &showing.delivery.body {
            Body::Question(question) => {
                self.question(&showing.session, question.clone()).await;
                Ok(Delivered)
            }
            Body::Picture(picture) => {
                let said = picture.describe();
                self.note(&match showing.session == self.cli.session() {
                    true => said,
                    false => format!("session {}: {said}", showing.session),
                });
                Ok(Delivered)
            }
            body if showing.delivery.ends.iter().any(ours) => self.end(body).await,
            body => {
                self.of_another(&showing, body);
                Ok(Delivered)
            }
        };
        showing.done(result);
    }

    /// The message's own end.
    async fn end(&mut self, body: &Body) -> Result<Delivered, DeliverFault> {
        let text = body.text().unwrap_or_default();
        let failed = matches!(body, Body::Failure(_));
        let text = match body {
            _ if self.json => Some(self.report(text, failed)),
            Body::Failure(_) => {
                self.note(&format!("error: {text}"));
                None
            }
            // The word that it was stopped is not what was asked for.
            _ if self.stopped_by.is_some() => {
                self.note(text);
                None
            }
            _ => Some(markdown::render(text, self.out)),
        };
        let written = match text {
            Some(text) => self.write(text).await,
            None => Ok(()),
        };
        let code = u8::from(failed || written.is_err());
        self.ended(code);
        written.map(|()| Delivered).map_err(|error| {
            let message = format!("cannot write the reply to standard output: {error}");
            self.note(&format!("error: {message}"));
            DeliverFault::Gone { message }
        })
    }

    /// Writes to standard output. A signal meanwhile ends the process: the reader does not read.
    async fn write(&mut self, text: String) -> io::Result<()> {
        let write = async { Ok(to_stdout(text).await) };
        let signal = async { Err(self.watch.next().await) };
        match write.or(signal).await {
            Ok(written) => written,
            Err(signal) => std::process::exit(signal.exit_code().into()),
        }
    }

    fn report(&self, text: &str, failed: bool) -> String {
        let report = serde_json::json!({
            "session": self.cli.session(),
            "reply": text,
            "is_error": failed,
            "took_ms": u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
        format!("{report}\n")
    }

    /// The message has come to its end: the program leaves when nothing else is in flight.
    fn ended(&mut self, code: u8) {
        self.end = Some(code);
        self.questions.clear();
        self.cli.handle().leave(Leave::WhenIdle);
    }

    /// What is not the end of our message: of an earlier one, or of none.
    fn of_another(&mut self, showing: &Showing, body: &Body) {
        let session = &showing.session;
        let kind = match body {
            Body::Reply(_) => "reply to an earlier message",
            Body::Failure(_) => "error of an earlier message",
            Body::Notice(_) if showing.delivery.ends.is_empty() => "note",
            Body::Notice(_) | Body::Question(_) | Body::Picture(_) => {
                "answer to an earlier message"
            }
        };
        let repeated = match showing.delivery.repeated {
            true => " (possibly repeated)",
            false => "",
        };
        let text = body.text().unwrap_or_default();
        self.note(&format!(
            "recovered {kind} in session {session}{repeated}: {text}"
        ));
    }

    async fn question(&mut self, session: &str, question: Question) {
        if session != self.cli.session() {
            self.note(&format!(
                "session {session} waits for a yes or no to {}: {}\n\
                 answer it with: openpistacrab repl --session {session}",
                question.tool,
                progress::gist(&question.arguments),
            ));
        } else if self.yes {
            self.note(&format!(
                "allowed by --yes: {}: {}",
                question.tool,
                progress::gist(&question.arguments)
            ));
            self.cli.decide(question.approval, Decision::Allow).await;
        } else if !(self.err.terminal && io::stdin().is_terminal()) {
            self.note(&format!(
                "denied, because there is no terminal to ask at: {}: {}\n\
                 --yes allows it once; mode = \"full\" under [policy] allows it always",
                question.tool,
                progress::gist(&question.arguments),
            ));
            self.cli.decide(question.approval, Decision::Deny).await;
        } else {
            self.questions.push_back(question);
            if self.questions.len() == 1 {
                self.ask();
            }
        }
    }

    /// Asks the first question that waits.
    fn ask(&mut self) {
        let Some(question) = self.questions.front() else {
            return;
        };
        self.spinner.finish();
        note(&prompt::question(question));
        let _ = io::Write::write_all(&mut io::stderr(), prompt::ALLOW.as_bytes());
        self.answers.get_or_insert_with(read_lines);
    }

    async fn typed(&mut self, line: Option<String>) {
        // Nobody can answer any more: that is a no.
        let answer = line.as_deref().map_or(Some(Decision::Deny), prompt::answer);
        if let Some(decision) = answer
            && let Some(question) = self.questions.pop_front()
        {
            self.cli.decide(question.approval, decision).await;
        }
        self.ask();
    }

    async fn signal(&mut self, signal: Ending) {
        if self.stopped_by.replace(signal).is_some() {
            self.spinner.finish();
            std::process::exit(signal.exit_code().into());
        }
        self.questions.clear();
        match self.end {
            None => {
                self.note("stopping; once more leaves at once");
                self.cli.stop().await;
                self.cli.handle().leave(Leave::Within(GRACE));
            }
            Some(_) => self.cli.handle().leave(Leave::Within(Duration::ZERO)),
        }
    }

    /// Writes a line to standard error, in the place of the spinner.
    fn note(&mut self, text: &str) {
        self.spinner.clear();
        note(&self.err.safe(text));
    }
}

/// Lines from standard input, read by a thread that is left behind when the program ends.
pub(super) fn read_lines() -> Receiver<String> {
    let (sender, receiver) = async_channel::bounded(1);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            if sender.send_blocking(line).is_err() {
                break;
            }
        }
    });
    receiver
}
