//! A sandbox by hand, through the public surface: made, used once, removed; and what happens to it
//! when people, engines, clocks and crashes get in the way at each of its states.

use openpista_core::Core;
use openpista_core::digest::Digest;
use openpista_core::effect::deliver::Delivered;
use openpista_core::effect::model::Reply;
use openpista_core::effect::sandbox::{
    Action, Done, Ended, Engine, Program, SandboxFault, Sandboxed, UseSandbox,
};
use openpista_core::effect::tool::{Clip, Exit, Ran};
use openpista_core::effect::{Effect, Op, Outcome, Recovery};
use openpista_core::gate::{Gate, Opened, Receipt};
use openpista_core::hint::Hint;
use openpista_core::id::{Attempt, SandboxId};
use openpista_core::input::{Arrival, Boot, Input, Order};
use openpista_core::message::{Message, ToolCall, ToolSpec};
use openpista_core::record::Record;
use openpista_core::recover::Past;
use openpista_core::replay::{Line, Replay};
use openpista_core::settings::{Mode, Policy, Settings};
use openpista_core::time::Time;

/// A shell that does nothing by itself.
struct Bench {
    core: Core,
    gate: Gate,
    now: Time,
    lines: Vec<Line>,
    effects: Vec<Effect>,
    hints: Vec<Hint>,
    /// What the model read last.
    read: Vec<String>,
    settings: Settings,
}

fn tool(name: &str, engine: Engine, otherwise: Option<Engine>, program: Program) -> ToolSpec {
    ToolSpec {
        name: name.into(),
        description: "runs".into(),
        parameters: "{}".into(),
        recovery: Recovery::Doubt,
        read_only: false,
        timeout_ms: 30_000,
        sandbox: Some(Sandboxed {
            engine,
            otherwise,
            program,
        }),
    }
}

fn settings() -> Settings {
    let other = Some(Engine::Subprocess);
    Settings {
        provider: "test".into(),
        model: "m".into(),
        system: "be brief".into(),
        tools: [
            tool("docker", Engine::Docker, None, Program::Command),
            tool("either", Engine::Docker, other, Program::Command),
            tool("worker", Engine::Docker, None, Program::Worker),
            tool("wasm", Engine::Wasm, None, Program::Command),
            tool("subprocess", Engine::Subprocess, None, Program::Command),
        ]
        .into(),
        policy: Policy {
            mode: Mode::Full,
            ..Policy::default()
        },
        owners: ["cli:local".to_string()].into(),
        ..Settings::default()
    }
}

impl Bench {
    fn new() -> Bench {
        Bench::with(settings())
    }

    fn with(settings: Settings) -> Bench {
        let mut bench = Bench {
            core: Core::new(),
            gate: Gate::new(),
            now: Time::ZERO,
            lines: Vec::new(),
            effects: Vec::new(),
            hints: Vec::new(),
            read: Vec::new(),
            settings,
        };
        bench.boot();
        bench
    }

    /// A bench whose model has called these tools.
    fn calling(tools: &[&str]) -> Bench {
        let mut bench = Bench::new();
        bench.call(tools);
        bench
    }

    fn call(&mut self, tools: &[&str]) {
        self.say("k", "do it");
        self.answer(tools);
    }

    fn boot(&mut self) -> Vec<Record> {
        self.effects.clear();
        self.step(Input::Boot(Box::new(Boot {
            settings: self.settings.clone(),
            unix_ms: 1_000_000,
        })))
    }

    /// The program dies and starts again: what ran in it is gone.
    fn restart(&mut self) {
        let past = |line: &Line| Past {
            seq: line.seq,
            at: line.at,
            records: line.records.clone(),
        };
        self.core = Core::restore(None, self.lines.iter().map(past)).expect("folds");
        self.boot();
    }

    /// The same, and every effect that was open is recovered.
    fn recover(&mut self) {
        self.restart();
        while let Some((due, _)) = self.core.deadline()
            && due <= self.now
        {
            self.tick();
        }
    }

    fn step(&mut self, input: Input) -> Vec<Record> {
        let step = self.core.step(self.now, input.clone());
        let records = step.records.clone();
        if !records.is_empty() {
            self.lines.push(Line {
                seq: step.seq,
                at: step.at,
                session: step.session,
                input,
                records: records.clone(),
            });
        }
        let through = step.seq;
        self.gate.hold(step);
        for opened in self.gate.open(Receipt::durable_through(through)) {
            match opened {
                Opened::Effect(cleared) => {
                    let (effect, prompt) = cleared.into_parts();
                    if let Some(prompt) = prompt {
                        let read = prompt.messages.iter().filter_map(|e| match &e.message {
                            Message::Tool { content, .. } => Some(content.clone()),
                            _ => None,
                        });
                        self.read = read.collect();
                    }
                    self.effects.push(effect);
                }
                Opened::Hint(hint) => self.hints.push(hint),
            }
        }
        records
    }

    fn say(&mut self, key: &str, text: &str) -> Vec<Record> {
        self.step(Input::Arrive(Arrival {
            origin: "cli:local".into(),
            key: key.into(),
            peer: "cli:local".into(),
            session: None,
            text: text.into(),
            serial: None,
        }))
    }

    fn stop(&mut self) -> Vec<Record> {
        self.step(Input::Order(Order::Stop {
            session: "cli:local".into(),
            by: "cli:local".into(),
        }))
    }

    fn tick(&mut self) -> Vec<Record> {
        let (due, timer) = self.core.deadline().expect("a timer");
        self.now = self.now.max(due);
        self.step(Input::Tick(timer))
    }

    fn report(&mut self, token: Digest, text: &str) -> Vec<Record> {
        let ended = ended(text);
        self.step(Input::Report { token, ended })
    }

    /// The oldest effect that nobody has looked at ends so.
    fn finish(&mut self, outcome: Outcome) -> Vec<Record> {
        let effect = self.effects.remove(0);
        self.finish_of(&effect, outcome)
    }

    fn finish_of(&mut self, effect: &Effect, outcome: Outcome) -> Vec<Record> {
        self.step(Input::Finish {
            effect: effect.id,
            attempt: effect.attempt,
            outcome,
        })
    }

    /// Takes the next use of a sandbox, past all else.
    fn sandboxed(&mut self) -> (Effect, UseSandbox) {
        let is = |effect: &Effect| matches!(effect.op, Op::Sandbox(_));
        let at = self.effects.iter().position(is).expect("a sandbox is used");
        let effect = self.effects.remove(at);
        let Op::Sandbox(used) = effect.op.clone() else {
            unreachable!()
        };
        (effect, used)
    }

    /// Takes the next effect that makes this of a sandbox.
    fn take(&mut self, action: &str) -> (Effect, UseSandbox) {
        let is =
            |effect: &Effect| matches!(&effect.op, Op::Sandbox(u) if name(&u.action) == action);
        let at = self.effects.iter().position(is).expect("it is asked for");
        let effect = self.effects.remove(at);
        self.effects.insert(0, effect);
        self.sandboxed()
    }

    /// The model answers what it was asked last.
    fn answer(&mut self, tools: &[&str]) {
        let is = |effect: &Effect| matches!(effect.op, Op::Model(_));
        let at = self
            .effects
            .iter()
            .position(is)
            .expect("the model is asked");
        let effect = self.effects.remove(at);
        let call = |(index, tool): (usize, &&str)| ToolCall {
            id: format!("call_{index}"),
            tool: tool.to_string(),
            arguments: r#"{"command":"true"}"#.into(),
        };
        let reply = Reply {
            calls: tools.iter().enumerate().map(call).collect(),
            ..Reply::default()
        };
        self.finish_of(&effect, Outcome::Model(Ok(reply)));
    }

    fn heard(&self) -> Vec<(Digest, bool)> {
        let heard = self.hints.iter().filter_map(|hint| match hint {
            Hint::Heard { token, taken } => Some((*token, *taken)),
            _ => None,
        });
        heard.collect()
    }

    fn done(&mut self, done: Result<Done, SandboxFault>) -> (UseSandbox, Vec<Record>) {
        let (effect, used) = self.sandboxed();
        let records = self.finish_of(&effect, Outcome::Sandbox(done));
        (used, records)
    }

    /// The next action, which must be this one, ends so.
    fn does(&mut self, action: &str, done: Result<Done, SandboxFault>) -> UseSandbox {
        let (used, _) = self.done(done);
        assert_eq!(name(&used.action), action);
        used
    }

    /// Nothing is asked of any sandbox now.
    fn no_use(&self) {
        let found = self.effects.iter().find(|e| matches!(e.op, Op::Sandbox(_)));
        assert_eq!(found, None);
    }

    fn cancels(&self) -> usize {
        let is = |e: &&Effect| matches!(e.op, Op::Cancel(_));
        self.effects.iter().filter(is).count()
    }

    /// The texts that are queued for people, of all time.
    fn told(&self) -> Vec<String> {
        let records = self.lines.iter().flat_map(|line| &line.records);
        let told = records.filter_map(|record| match record {
            Record::Queued { body, .. } => body.text().map(String::from),
            _ => None,
        });
        told.collect()
    }

    fn standing(&self) -> Vec<(SandboxId, Engine)> {
        self.core.state().sandboxes().collect()
    }

    /// Everything else comes to its end, and nothing of any sandbox is left.
    fn quiet(&mut self) {
        while !self.effects.is_empty() {
            let outcome = match &self.effects[0].op {
                Op::Model(_) => Outcome::Model(Ok(Reply {
                    text: "ok".into(),
                    ..Reply::default()
                })),
                Op::Sandbox(used) => {
                    assert_eq!(used.action, Action::Destroy);
                    Outcome::Sandbox(Ok(Done::Destroyed))
                }
                Op::Deliver(_) => Outcome::Deliver(Ok(Delivered)),
                Op::Cancel(_) => {
                    Outcome::Cancel(openpista_core::effect::cancel::Cancelled::Nothing)
                }
                Op::Tool(_) => unreachable!(),
            };
            self.finish(outcome);
        }
        assert_eq!(self.core.deadline(), None, "all is quiet");
        assert_eq!(self.standing(), []);
        self.check();
    }

    /// Laws 7, 8 and 9: every way to the state leads to the same one.
    fn check(&self) {
        let live = self.core.snapshot();
        let past = |line: &Line| Past {
            seq: line.seq,
            at: line.at,
            records: line.records.clone(),
        };
        for cut in 0..=self.lines.len() {
            let (head, tail) = self.lines.split_at(cut);
            let half = Core::restore(None, head.iter().map(past)).expect("folds");
            let whole = Core::restore(Some(&half.snapshot()), tail.iter().map(past));
            assert_eq!(whole.expect("folds").snapshot(), live);
        }
        let mut replay = Replay::new();
        for line in &self.lines {
            let json = serde_json::to_string(line).expect("writes");
            let line: Line = serde_json::from_str(&json).expect("reads");
            replay.follow(&line).expect("no difference");
        }
        assert_eq!(replay.core().snapshot(), live);
    }
}

fn name(action: &Action) -> &'static str {
    match action {
        Action::Create(_) => "create",
        Action::Run(_) => "run",
        Action::Resume(_) => "resume",
        Action::Destroy => "destroy",
    }
}

const CREATED: Result<Done, SandboxFault> = Ok(Done::Created { token: None });
const DESTROYED: Result<Done, SandboxFault> = Ok(Done::Destroyed);

fn token(n: u8) -> Digest {
    Digest([n; 32])
}

fn bears(n: u8) -> Result<Done, SandboxFault> {
    Ok(Done::Created {
        token: Some(token(n)),
    })
}

fn ended(text: &str) -> Ended {
    exited(Exit::Code(0), text)
}

fn exited(exit: Exit, text: &str) -> Ended {
    Ended {
        ran: Ran {
            exit,
            stdout: Clip {
                text: text.into(),
                cut_chars: 0,
            },
            stderr: Clip::default(),
            took_ms: 3,
            pictures: Vec::new(),
        },
        note: Some("it was confined".into()),
    }
}

fn over(text: &str) -> Result<Done, SandboxFault> {
    Ok(Done::Ended(ended(text)))
}

fn unavailable() -> Result<Done, SandboxFault> {
    Err(SandboxFault::Unavailable {
        message: "no daemon answers".into(),
    })
}

fn failed() -> Result<Done, SandboxFault> {
    Err(SandboxFault::Failed {
        message: "no such image".into(),
    })
}

fn doubted(records: &[Record]) -> bool {
    records.iter().any(|r| matches!(r, Record::Doubted { .. }))
}

// A whole life.

#[test]
fn a_sandbox_is_made_used_once_and_removed() {
    let engines = [
        ("docker", Engine::Docker, Recovery::Probe),
        ("wasm", Engine::Wasm, Recovery::Repeat),
        ("subprocess", Engine::Subprocess, Recovery::Doubt),
    ];
    for (tool, engine, class) in engines {
        let mut bench = Bench::calling(&[tool]);
        let (create, used) = bench.sandboxed();
        assert_eq!(create.recovery, Recovery::Repeat);
        assert_eq!((used.engine, used.call), (engine, 0));
        let made_by = (create.id.seq, create.id.slot);
        assert_eq!((used.sandbox.seq, used.sandbox.slot), made_by);
        assert_eq!(bench.standing(), [(used.sandbox, engine)]);
        bench.no_use();

        bench.finish_of(&create, Outcome::Sandbox(CREATED));
        let (run, running) = bench.sandboxed();
        assert_eq!(name(&running.action), "run");
        assert_eq!((run.recovery, run.attempt), (class, Attempt::FIRST));
        assert_eq!(running.sandbox, used.sandbox);
        assert_eq!(running.timeout_ms, 30_000);

        bench.finish_of(&run, Outcome::Sandbox(over("hello")));
        assert_eq!(
            bench.read,
            ["exit code: 0\nstdout:\nhello\n(it was confined)"]
        );
        let (_, gone) = bench.sandboxed();
        assert_eq!((gone.action, gone.sandbox), (Action::Destroy, used.sandbox));
        assert_eq!(bench.standing().len(), 1, "it stands until it is gone");
        let Some(Effect { id, .. }) = bench.lines.last().and_then(|line| {
            line.records.iter().find_map(|record| match record {
                Record::Intended(e) if matches!(e.op, Op::Sandbox(_)) => Some(e.clone()),
                _ => None,
            })
        }) else {
            panic!("its removal is intended with its end")
        };
        bench.step(Input::Finish {
            effect: id,
            attempt: Attempt::FIRST,
            outcome: Outcome::Sandbox(DESTROYED),
        });
        bench.quiet();
    }
}

#[test]
fn each_call_has_a_sandbox_of_its_own() {
    let mut bench = Bench::calling(&["docker", "docker", "wasm"]);
    let (first, a) = bench.sandboxed();
    let (second, b) = bench.sandboxed();
    let (third, c) = bench.sandboxed();
    assert!(a.sandbox != b.sandbox && b.sandbox != c.sandbox && a.sandbox != c.sandbox);
    for (effect, text) in [(third, "c"), (first, "a"), (second, "b")] {
        bench.finish_of(&effect, Outcome::Sandbox(CREATED));
        let (run, _) = bench.take("run");
        bench.finish_of(&run, Outcome::Sandbox(over(text)));
    }
    let read: Vec<&str> = bench.read.iter().filter_map(|t| t.lines().nth(2)).collect();
    assert_eq!(
        read,
        ["a", "b", "c"],
        "the model reads each where it called"
    );
    bench.quiet();
}

#[test]
fn there_is_a_bound_on_sandboxes() {
    let mut settings = settings();
    settings.limits.sandboxes = 2;
    let mut bench = Bench::with(settings);
    bench.call(&["docker", "wasm", "docker"]);
    bench.does("create", CREATED);
    bench.does("create", CREATED);
    bench.does("run", over("a"));
    bench.does("run", over("b"));
    assert!(bench.read[2].contains("2 sandboxes"), "{:?}", bench.read);
    // Those which are being removed count: nothing is gone yet.
    bench.answer(&["docker"]);
    assert!(bench.read[3].contains("2 sandboxes"), "{:?}", bench.read);
    bench.quiet();
}

// Creating.

#[test]
fn another_engine_does_where_one_is_not_there() {
    let mut bench = Bench::calling(&["either"]);
    let first = bench.does("create", unavailable());
    let second = bench.does("create", CREATED);
    assert_eq!(second.engine, Engine::Subprocess);
    assert_ne!(first.sandbox, second.sandbox);
    assert_eq!(bench.standing(), [(second.sandbox, Engine::Subprocess)]);
    bench.does("run", over("so"));
    bench.quiet();

    let mut bench = Bench::calling(&["either"]);
    bench.does("create", unavailable());
    bench.does("create", unavailable());
    assert_eq!(bench.read, ["did not run: no daemon answers"]);
    bench.quiet();

    // Another engine is no help where the task itself is wrong.
    let mut bench = Bench::calling(&["either"]);
    bench.does("create", failed());
    assert_eq!(bench.read, ["could not be started: no such image"]);
    bench.does("destroy", DESTROYED);
    bench.quiet();
}

#[test]
fn a_sandbox_that_was_not_made_is_told_and_removed_unless_nothing_was_made() {
    let message = || "the command is missing".to_string();
    let faults = [
        (SandboxFault::Unavailable { message: message() }, false),
        (SandboxFault::Arguments { message: message() }, false),
        (SandboxFault::Failed { message: message() }, true),
        (SandboxFault::TimedOut, true),
        (SandboxFault::Cancelled, true),
        (SandboxFault::Lost, true),
    ];
    for (fault, removed) in faults {
        let mut bench = Bench::calling(&["docker"]);
        bench.does("create", Err(fault.clone()));
        assert_eq!(bench.read, [fault.to_string()]);
        assert_eq!(bench.standing().len(), usize::from(removed));
        if removed {
            bench.does("destroy", DESTROYED);
        }
        bench.quiet();
    }
}

#[test]
fn a_turn_that_is_stopped_while_its_sandbox_is_made_never_runs_it() {
    for made in [CREATED, bears(1), Err(SandboxFault::Cancelled), failed()] {
        let mut bench = Bench::calling(&["either"]);
        bench.stop();
        assert_eq!(bench.cancels(), 1);
        bench.does("create", made);
        assert_eq!(bench.core.state().bearer(&token(1)), None);
        bench.does("destroy", DESTROYED);
        bench.quiet();
    }
    let mut bench = Bench::calling(&["either"]);
    bench.stop();
    bench.does("create", unavailable());
    bench.no_use();
    bench.quiet();
}

#[test]
fn a_sandbox_of_an_earlier_turn_does_not_run_in_the_next() {
    let mut bench = Bench::calling(&["docker"]);
    bench.stop();
    bench.say("k2", "and now?");
    bench.does("create", CREATED);
    bench.does("destroy", DESTROYED);
    bench.quiet();
}

#[test]
fn a_sandbox_that_is_never_ready_times_out() {
    let mut bench = Bench::calling(&["docker"]);
    let (create, _) = bench.sandboxed();
    bench.tick();
    assert_eq!(bench.cancels(), 1, "what may still go on is stopped");
    assert!(bench.read[0].contains("not ready in time"));
    bench.does("destroy", DESTROYED);
    let late = bench.finish_of(&create, Outcome::Sandbox(CREATED));
    assert_eq!(late, [], "too late");
    bench.quiet();
}

#[test]
fn a_start_makes_a_sandbox_again_that_was_being_made() {
    let mut bench = Bench::calling(&["worker"]);
    let (first, used) = bench.sandboxed();
    bench.recover();
    let (second, again) = bench.sandboxed();
    assert_eq!((second.id, second.attempt), (first.id, Attempt(2)));
    assert_eq!(used, again);
    assert_eq!(bench.finish_of(&first, Outcome::Sandbox(bears(1))), []);
    bench.finish_of(&second, Outcome::Sandbox(bears(2)));
    assert_eq!(bench.core.state().bearer(&token(1)), None);
    assert!(bench.core.state().bearer(&token(2)).is_some());
    bench.does("run", over("so"));
    bench.quiet();

    // But not for a turn that has ended.
    let mut bench = Bench::calling(&["worker"]);
    bench.restart();
    bench.stop();
    bench.does("destroy", DESTROYED);
    bench.quiet();
}

#[test]
fn what_an_earlier_life_may_have_made_is_removed_although_its_engine_is_away() {
    let arguments = || SandboxFault::Arguments {
        message: "what?".into(),
    };
    for fault in [unavailable(), Err(arguments())] {
        let mut bench = Bench::calling(&["either"]);
        bench.recover();
        let first = bench.does("create", fault.clone());
        let destroy = bench.sandboxed();
        assert_eq!(
            (destroy.1.action, destroy.1.sandbox),
            (Action::Destroy, first.sandbox)
        );
        assert!(bench.standing().iter().any(|(id, _)| *id == first.sandbox));
        bench.finish_of(&destroy.0, Outcome::Sandbox(DESTROYED));
        if fault == unavailable() {
            bench.does("create", CREATED);
            bench.does("run", over("so"));
        }
        bench.quiet();
    }
}

#[test]
fn a_call_goes_on_when_an_engine_answers_beside_the_point() {
    for beside in [over("?"), DESTROYED] {
        let mut bench = Bench::calling(&["docker"]);
        bench.does("create", beside);
        assert_eq!(bench.read.len(), 1, "the model is told");
        bench.does("destroy", DESTROYED);
        bench.quiet();
    }
}

// Busy.

#[test]
fn a_run_that_fails_is_told_and_its_sandbox_removed() {
    let faults = [
        failed(),
        Err(SandboxFault::TimedOut),
        Err(SandboxFault::Cancelled),
        Ok(Done::Ended(exited(Exit::TimedOut, "half"))),
    ];
    for fault in faults {
        let mut bench = Bench::calling(&["docker"]);
        bench.does("create", CREATED);
        let (_, records) = bench.done(fault);
        assert!(!doubted(&records));
        assert_eq!(bench.read.len(), 1);
        bench.does("destroy", DESTROYED);
        bench.quiet();
    }
}

#[test]
fn a_turn_that_is_stopped_while_its_task_runs_stops_the_task() {
    let mut bench = Bench::calling(&["docker"]);
    bench.does("create", CREATED);
    bench.stop();
    assert_eq!(bench.cancels(), 1);
    assert_eq!(
        bench.standing().len(),
        1,
        "it is removed once it has stopped"
    );
    bench.does("run", Ok(Done::Ended(exited(Exit::Cancelled, "half"))));
    bench.does("destroy", DESTROYED);
    assert_eq!(bench.told(), ["Stopped."]);
    bench.quiet();
}

#[test]
fn a_task_that_is_never_heard_of_again_is_in_doubt() {
    let mut bench = Bench::calling(&["worker"]);
    bench.does("create", bears(1));
    let (run, _) = bench.sandboxed();
    let records = bench.tick();
    assert!(doubted(&records));
    assert_eq!(bench.cancels(), 1);
    assert!(bench.read[0].starts_with("in doubt"));
    assert!(bench.told()[0].starts_with("Interrupted"));
    assert_eq!(bench.report(token(1), "late"), [], "its token is revoked");
    assert_eq!(bench.finish_of(&run, Outcome::Sandbox(over("late"))), []);
    bench.does("destroy", DESTROYED);
    bench.quiet();
}

#[test]
fn a_start_asks_a_container_what_became_of_it() {
    let mut bench = Bench::calling(&["docker"]);
    bench.does("create", CREATED);
    let (run, used) = bench.sandboxed();
    // However often.
    for attempt in 2..5 {
        bench.recover();
        let (again, resumed) = bench.sandboxed();
        assert_eq!((again.id, again.attempt), (run.id, Attempt(attempt)));
        assert_eq!(name(&resumed.action), "resume");
        assert_eq!(
            (resumed.task(), resumed.sandbox),
            (used.task(), used.sandbox)
        );
        bench.effects.push(again);
    }
    assert_eq!(bench.finish_of(&run, Outcome::Sandbox(over("old"))), []);
    bench.does("resume", over("so"));
    assert!(bench.read[0].contains("so"));
    bench.quiet();
}

#[test]
fn people_are_told_of_a_container_that_was_lost() {
    let mut bench = Bench::calling(&["docker"]);
    bench.does("create", CREATED);
    bench.recover();
    let (used, records) = bench.done(Err(SandboxFault::Lost));
    assert_eq!(name(&used.action), "resume");
    assert!(doubted(&records));
    assert!(bench.read[0].contains("may have run"));
    assert!(
        bench.told()[0].starts_with("Interrupted: `docker`"),
        "{:?}",
        bench.told()
    );
    bench.does("destroy", DESTROYED);
    bench.quiet();

    // Also when they stopped the turn meanwhile.
    let mut bench = Bench::calling(&["docker"]);
    bench.does("create", CREATED);
    bench.stop();
    let (_, records) = bench.done(Err(SandboxFault::Lost));
    assert!(doubted(&records));
    assert!(
        bench.told()[1].starts_with("Interrupted: `docker`"),
        "{:?}",
        bench.told()
    );
    bench.quiet();
}

#[test]
fn a_start_runs_a_guest_again_and_doubts_a_process() {
    let mut bench = Bench::calling(&["wasm", "subprocess"]);
    bench.does("create", CREATED);
    bench.does("create", CREATED);
    bench.recover();
    assert!(bench.told()[0].starts_with("Interrupted: `subprocess`"));
    let guest = bench.does("run", over("so"));
    assert_eq!(guest.engine, Engine::Wasm);
    assert!(bench.read[0].contains("so") && bench.read[1].starts_with("in doubt"));
    bench.quiet();
}

#[test]
fn a_turn_that_is_stopped_before_it_is_recovered_doubts_what_ran() {
    for tool in ["docker", "wasm", "subprocess"] {
        let mut bench = Bench::calling(&[tool]);
        bench.does("create", CREATED);
        bench.restart();
        let records = bench.stop();
        assert!(doubted(&records));
        assert_eq!(bench.cancels(), 0, "nothing of it runs here");
        bench.does("destroy", DESTROYED);
        bench.quiet();
    }
}

// Draining.

#[test]
fn removing_is_tried_until_it_is_done() {
    let mut bench = Bench::calling(&["docker"]);
    bench.does("create", CREATED);
    bench.does("run", over("so"));
    bench.stop();
    assert_eq!(bench.cancels(), 1, "of the model call alone");
    for fault in [unavailable(), failed(), Err(SandboxFault::TimedOut)] {
        bench.does("destroy", fault);
        assert_eq!(bench.standing().len(), 1);
        bench.no_use();
        while !bench.effects.iter().any(|e| matches!(e.op, Op::Sandbox(_))) {
            bench.effects.clear();
            bench.tick();
        }
    }
    // It hangs, and the program dies, and it is tried again.
    bench.effects.clear();
    while !bench.effects.iter().any(|e| matches!(e.op, Op::Sandbox(_))) {
        bench.tick();
    }
    bench.recover();
    let (last, used) = bench.sandboxed();
    assert_eq!((used.action, last.attempt), (Action::Destroy, Attempt(6)));
    assert_eq!(bench.standing().len(), 1);
    bench.finish_of(&last, Outcome::Sandbox(DESTROYED));
    assert_eq!(bench.standing(), []);
}

#[test]
fn what_can_never_be_removed_is_given_up_in_the_end() {
    let mut settings = settings();
    settings.limits.deliver_attempts = 3;
    let mut bench = Bench::with(settings);
    bench.call(&["docker"]);
    bench.does("create", CREATED);
    bench.does("run", over("so"));
    bench.does("destroy", failed());
    bench.tick();
    bench.does("destroy", failed());
    bench.tick();
    bench.does("destroy", failed());
    bench.no_use();
    bench.quiet();
}

// Reports.

#[test]
fn a_report_is_taken_once_and_with_its_token_alone() {
    let mut bench = Bench::calling(&["worker", "worker"]);
    bench.does("create", bears(1));
    bench.does("create", bears(2));
    let (first, a) = bench.sandboxed();
    let (_, b) = bench.sandboxed();
    assert_ne!(a.sandbox, b.sandbox);
    assert_eq!(bench.core.state().bearer(&token(1)), Some(first.id));
    bench.hints.clear();

    assert_eq!(bench.report(token(3), "foreign"), []);
    assert_eq!(bench.heard(), [(token(3), false)]);

    let records = bench.report(token(1), "mine");
    let heard_of = |r: &Record| matches!(r, Record::Heard { sandbox, .. } if *sandbox == a.sandbox);
    let settled = |r: &Record| matches!(r, Record::Settled { effect, .. } if *effect == first.id);
    assert!(records.iter().any(heard_of) && records.iter().any(settled));
    assert_eq!(bench.heard()[1], (token(1), true));
    assert_eq!(bench.core.state().bearer(&token(1)), None, "it is used up");
    assert!(bench.core.state().bearer(&token(2)).is_some());

    // Repeated, also with other words: it was heard, and nothing more.
    assert_eq!(bench.report(token(1), "mine"), []);
    assert_eq!(bench.report(token(1), "another"), []);
    bench.restart();
    assert_eq!(bench.report(token(1), "mine"), []);
    assert_eq!(bench.heard()[1..], [(token(1), true); 4]);
    // The engine's own word on it comes too late.
    assert_eq!(bench.finish_of(&first, Outcome::Sandbox(over("other"))), []);

    // The other one reports before its run is even recovered.
    assert!(!bench.report(token(2), "also mine").is_empty());
    while bench
        .core
        .deadline()
        .is_some_and(|(due, _)| due <= bench.now)
    {
        bench.tick();
    }
    let read: Vec<&str> = bench.read.iter().filter_map(|t| t.lines().nth(2)).collect();
    assert_eq!(read, ["mine", "also mine"]);
    bench.does("destroy", DESTROYED);
    bench.does("destroy", DESTROYED);
    bench.hints.clear();
    assert_eq!(bench.report(token(1), "mine"), []);
    assert_eq!(
        bench.heard(),
        [(token(1), false)],
        "no token outlives its sandbox"
    );
    bench.quiet();
}

#[test]
fn a_report_that_comes_too_late_is_not_taken() {
    let mut bench = Bench::calling(&["worker"]);
    bench.does("create", bears(1));
    let (run, _) = bench.sandboxed();
    let (due, _) = bench.core.deadline().expect("it is due some time");
    bench.now = due;
    assert_eq!(bench.report(token(1), "late"), [], "nobody has ticked yet");
    assert!(doubted(&bench.tick()));
    assert_eq!(bench.finish_of(&run, Outcome::Sandbox(over("late"))), []);
    bench.quiet();
}

#[test]
fn a_report_of_a_stopped_turn_is_heard_and_goes_nowhere() {
    let mut bench = Bench::calling(&["worker"]);
    bench.does("create", bears(1));
    bench.stop();
    assert!(!bench.report(token(1), "done after all").is_empty());
    let (_, late) = bench.done(Ok(Done::Ended(exited(Exit::Cancelled, ""))));
    assert_eq!(late, []);
    bench.does("destroy", DESTROYED);
    assert_eq!(bench.told(), ["Stopped."]);
    bench.quiet();
}
