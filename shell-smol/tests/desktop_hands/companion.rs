//! The companion, spoken to as the daemon does.

use crate::display::{Editor, Screen};
use crate::support::program::wait_until;
use openpista_shell_smol::companion::Companion;
use openpista_shell_smol::desktop::{Ability, Ask, Call, End, Told};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::json;
use std::ffi::OsString;
use std::path::Path;

const PROGRAM: &str = env!("CARGO_BIN_EXE_openpista-desktop");

/// What `input.drag` needs ten seconds for.
pub(crate) const LONG_DRAG: &str =
    r#"{"from":{"x":150,"y":150},"to":{"x":450,"y":350},"duration_ms":10000}"#;

/// A companion on a screen, for one session.
pub(crate) struct Hands {
    companion: Companion,
    calls: u64,
}

impl Hands {
    pub(crate) fn on(screen: &Screen) -> Hands {
        Hands::with(&[("DISPLAY", screen.name())])
    }

    /// With these variables and no others.
    pub(crate) fn with(variables: &[(&str, &str)]) -> Hands {
        let variables = variables.iter();
        let environment = variables.map(|(name, value)| (OsString::from(name), value.into()));
        let started = Companion::start(Path::new(PROGRAM), environment);
        Hands {
            companion: smol::block_on(started).expect("the companion"),
            calls: 0,
        }
    }

    /// Begins a call and does not wait for its end.
    pub(crate) fn begin(&mut self, tool: &str, arguments: &str) {
        self.begin_for(tool, arguments, 60_000);
    }

    /// The same, with this much time.
    pub(crate) fn begin_for(&mut self, tool: &str, arguments: &str, timeout_ms: u64) {
        self.calls += 1;
        let call = Call {
            id: self.calls,
            session: "cli:local".into(),
            tool: tool.into(),
            arguments: arguments.into(),
            folder: std::env::temp_dir(),
            shown: true,
            timeout_ms,
        };
        self.say(&Ask::Call(call));
    }

    /// Asks the call that runs to stop.
    pub(crate) fn stop(&self) {
        self.say(&Ask::Stop { id: self.calls });
    }

    /// Waits for the end of the call.
    pub(crate) fn end(&mut self) -> End {
        loop {
            let told = smol::block_on(self.companion.hear());
            if let Told::Ended { id, end } = told.expect("the companion lives") {
                assert_eq!(id, self.calls);
                return end;
            }
        }
    }

    /// Does a call.
    pub(crate) fn call(&mut self, tool: &str, arguments: &str) -> End {
        self.begin(tool, arguments);
        self.end()
    }

    /// Does a call that is certain to be done, and gives its text.
    pub(crate) fn done(&mut self, tool: &str, arguments: &str) -> String {
        match self.call(tool, arguments) {
            End::Done(done) => done.text,
            other => panic!("{tool} {arguments}: {other:?}"),
        }
    }

    /// What it can do.
    pub(crate) fn abilities(&mut self) -> Vec<Ability> {
        self.say(&Ask::Abilities);
        match smol::block_on(self.companion.hear()).expect("the companion lives") {
            Told::Abilities(abilities) => abilities,
            other => panic!("{other:?}"),
        }
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.companion.id()
    }

    /// The process that watches over it, which it starts with its first call.
    pub(crate) fn watcher(&self) -> u32 {
        wait_until("the watcher", || child_of(self.id()))
    }

    fn say(&self, ask: &Ask) {
        smol::block_on(self.companion.say(ask)).expect("the companion lives");
    }
}

/// In the middle of typing a long text for which codes are lent: who types, where, and what.
pub(crate) fn typing(screen: &Screen) -> (Hands, Editor, String) {
    let map = screen.key_map();
    let editor = Editor::open(screen);
    let mut hands = Hands::on(screen);
    hands.done("input.click", r#"{"x":200,"y":200}"#);
    let lines = "Wörld_漢字\n".repeat(200);
    hands.begin("input.type", &json!({ "text": lines }).to_string());
    wait_until("a line", || editor.lines().contains('字').then_some(()));
    assert_ne!(screen.key_map(), map);
    (hands, editor, lines)
}

/// A child of a process, by the system's account.
pub(crate) fn child_of(parent: u32) -> Option<u32> {
    let entries = std::fs::read_dir("/proc").ok()?.flatten();
    let mut ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.find(|id: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // After the name, which is in parentheses: the state and the parent.
        let rest = stat.rsplit_once(") ").map(|(_, rest)| rest.to_owned());
        let rest = rest.unwrap_or_default();
        let mut fields = rest.split(' ');
        fields.next() != Some("Z") && fields.next() == Some(&parent.to_string())
    })
}

/// Ends a process as a crash would.
pub(crate) fn kill(id: u32) {
    send(id, Signal::KILL);
}

/// Sends a signal.
pub(crate) fn send(id: u32, signal: Signal) {
    kill_process(pid(id), signal).expect("a process of ours");
}

/// Waits until a process is gone, or is a zombie that nobody has reaped yet.
pub(crate) fn wait_gone(what: &str, id: u32) {
    wait_until(&format!("the end of {what}"), || {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        (test_kill_process(pid(id)).is_err() || stat.contains(") Z ")).then_some(())
    });
}

fn pid(id: u32) -> Pid {
    let raw = i32::try_from(id).ok();
    raw.and_then(Pid::from_raw)
        .expect("the number of a process")
}
