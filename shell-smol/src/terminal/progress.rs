//! Saying that something goes on: one line that is drawn over itself.
//!
//! It is drawn on a terminal alone; a pipe sees nothing of it. The line is never wider than the
//! screen, so that it always is one line and can be taken away again.

use super::Screen;
use super::clean::one_line;
use openpista_core::effect::tool::Exit;
use openpista_core::hint::Activity;
use openpista_core::id::Attempt;
use std::io::Write;
use std::time::{Duration, Instant};
use termimad::StrFit;

/// How often the line is drawn anew.
pub const FRAME: Duration = Duration::from_millis(120);
const FRAMES: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
/// Columns of the frame, the spaces and the elapsed time around the label.
const MARGIN: usize = 16;

/// What goes on, in a few words; none for what is not worth a line.
pub fn label(activity: &Activity, model: &str) -> Option<String> {
    match activity {
        Activity::Asking { round, attempt } => {
            let mut notes = Vec::new();
            if *round > 1 {
                notes.push(format!("round {round}"));
            }
            if *attempt > Attempt::FIRST {
                notes.push(format!("try {}", attempt.0));
            }
            let notes = match notes.is_empty() {
                true => String::new(),
                false => format!(" ({})", notes.join(", ")),
            };
            Some(format!("asking {}{notes}…", one_line(model)))
        }
        Activity::Waiting { why, retry_in_ms } => Some(format!(
            "{}, trying again in {}",
            one_line(why),
            seconds(Duration::from_millis(*retry_in_ms))
        )),
        Activity::Running { tool, arguments } => {
            Some(format!("running {}: {}…", one_line(tool), gist(arguments)))
        }
        Activity::Ran { .. } | Activity::InDoubt | Activity::Chunk(_) => None,
    }
}

/// How something ended, in a few words; none for what has not ended.
pub fn ended(activity: &Activity) -> Option<String> {
    match activity {
        Activity::Ran { exit, took_ms } => {
            let how = match exit {
                None => "did not start".to_owned(),
                Some(Exit::Code(code)) => format!("exit code {code}"),
                Some(Exit::Signal(signal)) => format!("ended by signal {signal}"),
                Some(Exit::TimedOut) => "took too long and was killed".to_owned(),
                Some(Exit::Cancelled) => "stopped".to_owned(),
            };
            let took = seconds(Duration::from_millis(*took_ms));
            Some(format!("{how} after {took}"))
        }
        Activity::InDoubt => Some("it may have run before the program stopped".to_owned()),
        _ => None,
    }
}

/// The arguments of a call as a person would say them: a lone string by itself, or the JSON.
pub fn gist(arguments: &str) -> String {
    let object: Option<serde_json::Map<String, serde_json::Value>> =
        serde_json::from_str(arguments).ok();
    let lone = object.as_ref().filter(|object| object.len() == 1);
    let value = lone.and_then(|object| object.values().next());
    match value.and_then(serde_json::Value::as_str) {
        Some(text) => one_line(text),
        None => one_line(arguments),
    }
}

/// A span of time in words: `0.4 s`, `12 s`, `3 min 5 s`.
pub fn seconds(span: Duration) -> String {
    match span.as_secs() {
        0..10 if span.subsec_millis() >= 50 || span.is_zero() => {
            format!("{:.1} s", span.as_secs_f32())
        }
        secs @ 0..60 => format!("{secs} s"),
        secs => format!("{} min {} s", secs / 60, secs % 60),
    }
}

/// The line itself.
#[derive(Debug)]
pub struct Spinner<W: Write> {
    out: W,
    screen: Screen,
    label: Option<(String, Instant)>,
    frame: usize,
    drawn: bool,
}

impl<W: Write> Spinner<W> {
    /// A line that is not drawn yet.
    pub fn new(out: W, screen: Screen) -> Spinner<W> {
        Spinner {
            out,
            screen,
            label: None,
            frame: 0,
            drawn: false,
        }
    }

    /// There is something to draw every [`FRAME`].
    pub fn is_turning(&self) -> bool {
        self.screen.terminal && self.label.is_some()
    }

    /// Says from `now` on that `label` goes on.
    pub fn say(&mut self, label: String, now: Instant) {
        self.label = Some((label, now));
        self.draw(now);
    }

    /// Draws the next frame.
    pub fn draw(&mut self, now: Instant) {
        let Some((label, since)) = self.label.as_ref().filter(|_| self.screen.terminal) else {
            return;
        };
        // What is not under way, such as a wait that is already told in seconds, is not timed.
        let elapsed = match label.ends_with('…') {
            true => format!(" {} s", now.saturating_duration_since(*since).as_secs()),
            false => String::new(),
        };
        let room = self.screen.columns.saturating_sub(MARGIN);
        let (label, _) = StrFit::make_cow(label, room);
        let frame = FRAMES[self.frame % FRAMES.len()];
        self.frame = self.frame.wrapping_add(1);
        self.drawn = true;
        // Nobody can be told that standard error does not take a spinner.
        let _ = write!(self.out, "\r\x1b[2K{frame} {label}{elapsed}");
        let _ = self.out.flush();
    }

    /// Takes the line away, so that something else can be written. The next frame brings it back.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            let _ = write!(self.out, "\r\x1b[2K");
            let _ = self.out.flush();
        }
    }

    /// Nothing goes on any more.
    pub fn finish(&mut self) {
        self.clear();
        self.label = None;
    }
}

#[cfg(test)]
mod tests {
    use super::{Spinner, ended, gist, label, seconds};
    use crate::terminal::Screen;
    use openpista_core::effect::tool::Exit;
    use openpista_core::hint::Activity;
    use openpista_core::id::Attempt;
    use std::time::{Duration, Instant};

    #[test]
    fn labels_say_what_goes_on() {
        let asking = |round, attempt| Activity::Asking {
            round,
            attempt: Attempt(attempt),
        };
        assert_eq!(label(&asking(1, 1), "m").as_deref(), Some("asking m…"));
        assert_eq!(
            label(&asking(2, 3), "m").as_deref(),
            Some("asking m (round 2, try 3)…")
        );
        let running = Activity::Running {
            tool: "system.run".to_owned(),
            arguments: r#"{"command":"uname\n -a\u001b[2J"}"#.to_owned(),
        };
        assert_eq!(
            label(&running, "m").as_deref(),
            Some("running system.run: uname -a␛[2J…")
        );
        let waiting = Activity::Waiting {
            why: "provider busy".to_owned(),
            retry_in_ms: 4_000,
        };
        assert_eq!(
            label(&waiting, "m").as_deref(),
            Some("provider busy, trying again in 4 s")
        );
    }

    #[test]
    fn ends_say_how_and_how_long() {
        let ran = |exit| {
            ended(&Activity::Ran {
                exit,
                took_ms: 1_200,
            })
        };
        assert_eq!(
            ran(Some(Exit::Code(0))).as_deref(),
            Some("exit code 0 after 1.2 s")
        );
        assert_eq!(ran(None).as_deref(), Some("did not start after 1.2 s"));
    }

    #[test]
    fn arguments_are_shown_short() {
        assert_eq!(gist(r#"{"command":"ls"}"#), "ls");
        assert_eq!(gist(r#"{"a":"b","c":1}"#), r#"{"a":"b","c":1}"#);
        assert_eq!(gist("not json\n"), "not json");
    }

    #[test]
    fn spans_read_well() {
        let shown = |ms| seconds(Duration::from_millis(ms));
        assert_eq!(shown(0), "0.0 s");
        assert_eq!(shown(400), "0.4 s");
        assert_eq!(shown(4_000), "4 s");
        assert_eq!(shown(59_900), "59 s");
        assert_eq!(shown(185_000), "3 min 5 s");
    }

    #[test]
    fn the_line_fits_the_screen_and_goes_away() {
        let screen = Screen {
            terminal: true,
            color: true,
            columns: 40,
        };
        let mut out = Vec::new();
        let mut spinner = Spinner::new(&mut out, screen);
        let start = Instant::now();
        spinner.say("界".repeat(100) + "…", start);
        spinner.draw(start + Duration::from_secs(3));
        spinner.finish();
        assert!(!spinner.is_turning());
        let text = String::from_utf8(out).unwrap();
        let frames: Vec<&str> = text.split("\r\x1b[2K").skip(1).collect();
        assert_eq!(frames.len(), 3);
        assert!(frames[1].ends_with(" 3 s"), "{frames:?}");
        assert!(termimad::StrFit::count_fitting(frames[1], 1_000).1 <= 40);
        assert_eq!(frames[2], "");
    }

    #[test]
    fn a_wait_is_not_timed() {
        let screen = Screen {
            terminal: true,
            ..Screen::PIPE
        };
        let mut out = Vec::new();
        Spinner::new(&mut out, screen).say("trying again in 4 s".to_owned(), Instant::now());
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with("trying again in 4 s"), "{text:?}");
    }

    #[test]
    fn a_pipe_sees_nothing() {
        let mut out = Vec::new();
        let mut spinner = Spinner::new(&mut out, Screen::PIPE);
        spinner.say("working".to_owned(), Instant::now());
        spinner.draw(Instant::now());
        spinner.finish();
        assert!(out.is_empty());
    }
}
