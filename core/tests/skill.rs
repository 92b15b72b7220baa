//! Skills: what a prompt carries of them, reading one, and learning anew.

use openpista_core::effect::model::{Finish, Reply, Usage};
use openpista_core::effect::sandbox::{Action, Engine, Program, Sandboxed};
use openpista_core::effect::{Effect, Op, Outcome, Recovery};
use openpista_core::gate::{Gate, Opened, Receipt};
use openpista_core::input::{Arrival, Boot, Input};
use openpista_core::message::{Message, Prompt, ToolCall, ToolSpec};
use openpista_core::record::Record;
use openpista_core::recover::Past;
use openpista_core::replay::{Line, Replay};
use openpista_core::settings::{Mode, Settings};
use openpista_core::skill::Skill;
use openpista_core::time::Time;
use openpista_core::{Core, id::Attempt, id::EffectId};

struct Bench {
    core: Core,
    gate: Gate,
    settings: Settings,
    lines: Vec<Line>,
    /// The model call that is open.
    asked: Option<(EffectId, Attempt, Prompt)>,
    effects: Vec<Effect>,
    said: usize,
}

impl Bench {
    fn new(settings: impl FnOnce(&mut Settings)) -> Bench {
        let mut chosen = Settings {
            model: "m".into(),
            system: "Be brief.".into(),
            owners: ["cli:ann".to_string()].into(),
            tools: [plain("system.run")].into(),
            ..Settings::default()
        };
        settings(&mut chosen);
        let mut bench = Bench {
            core: Core::new(),
            gate: Gate::new(),
            settings: chosen,
            lines: Vec::new(),
            asked: None,
            effects: Vec::new(),
            said: 0,
        };
        bench.boot();
        bench
    }

    fn boot(&mut self) -> Vec<Record> {
        let settings = self.settings.clone();
        let unix_ms = 1_700_000_000_000;
        self.step(Input::Boot(Box::new(Boot { settings, unix_ms })))
    }

    fn step(&mut self, input: Input) -> Vec<Record> {
        let step = self.core.step(Time::ZERO, input.clone());
        let (records, through) = (step.records.clone(), step.seq);
        if !records.is_empty() {
            self.lines.push(Line {
                seq: step.seq,
                at: step.at,
                session: step.session,
                input,
                records: records.clone(),
            });
        }
        self.gate.hold(step);
        for opened in self.gate.open(Receipt::durable_through(through)) {
            if let Opened::Effect(cleared) = opened {
                match cleared.into_parts() {
                    (effect, Some(prompt)) => {
                        self.asked = Some((effect.id, effect.attempt, prompt));
                    }
                    (effect, None) => self.effects.push(effect),
                }
            }
        }
        records
    }

    fn learn(&mut self, skills: &[Skill]) -> Vec<Record> {
        let skills = skills.to_vec();
        self.step(Input::Learn { skills })
    }

    /// Says something, and gives the prompt that comes of it.
    fn say(&mut self) -> Prompt {
        self.said += 1;
        self.step(Input::Arrive(Arrival {
            origin: "cli:local".into(),
            key: self.said.to_string(),
            peer: "cli:ann".into(),
            session: None,
            text: "hello".into(),
            serial: None,
        }));
        self.asked.as_ref().expect("a call").2.clone()
    }

    /// The model answers with these calls, none being the end.
    fn reply(&mut self, calls: &[(&str, &str)]) -> Vec<Record> {
        let (effect, attempt, _) = self.asked.take().expect("a call");
        let call = |(tool, arguments): &(&str, &str)| ToolCall {
            id: tool.to_string(),
            tool: tool.to_string(),
            arguments: arguments.to_string(),
        };
        self.step(Input::Finish {
            effect,
            attempt,
            outcome: Outcome::Model(Ok(Reply {
                text: "done".into(),
                calls: calls.iter().map(call).collect(),
                finish: Finish::Stop,
                usage: Usage::default(),
            })),
        })
    }

    /// What a call of `skill.read` gives to the model.
    fn read(&mut self, arguments: &str) -> String {
        self.say();
        self.reply(&[("skill.read", arguments)]);
        let prompt = self.asked.clone().expect("it is called again").2;
        self.reply(&[]);
        match &prompt.messages.last().expect("a result").message {
            Message::Tool { content, .. } => content.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// Laws 7 and 8.
    fn check(&self) {
        let past = |line: &Line| Past {
            seq: line.seq,
            at: line.at,
            records: line.records.clone(),
        };
        let folded = Core::restore(None, self.lines.iter().map(past)).expect("folds");
        assert_eq!(folded.snapshot(), self.core.snapshot());
        let mut replay = Replay::new();
        for line in &self.lines {
            assert_eq!(replay.follow(line), Ok(()));
        }
    }
}

fn plain(name: &str) -> ToolSpec {
    ToolSpec {
        name: name.into(),
        description: "runs".into(),
        parameters: "{}".into(),
        recovery: Recovery::Doubt,
        read_only: false,
        timeout_ms: 30_000,
        sandbox: None,
    }
}

fn skill(name: &str, body: &str) -> Skill {
    Skill {
        name: name.into(),
        description: format!("About {name}."),
        body: body.into(),
        tool: None,
    }
}

fn with_program(name: &str) -> Skill {
    let tool = ToolSpec {
        read_only: true,
        sandbox: Some(Sandboxed {
            engine: Engine::Wasm,
            otherwise: None,
            program: Program::Skill {
                name: name.into(),
                folder: name.into(),
                entry: "main.wasm".into(),
                image: None,
            },
        }),
        ..plain(&format!("skill.{name}"))
    };
    Skill {
        tool: Some(tool),
        ..skill(name, "Call it.")
    }
}

fn names(prompt: &Prompt) -> Vec<&str> {
    prompt.tools.iter().map(|tool| tool.name.as_str()).collect()
}

#[test]
fn without_skills_the_prompt_is_the_operators() {
    let mut bench = Bench::new(|_| {});
    assert_eq!(bench.learn(&[]), [], "nothing new");
    let prompt = bench.say();
    assert_eq!(&*prompt.system, "Be brief.");
    assert_eq!(names(&prompt), ["system.run"]);
    bench.check();
}

#[test]
fn every_prompt_carries_the_skills_by_name_and_their_programs_as_tools() {
    let mut bench = Bench::new(|_| {});
    let skills = [with_program("b"), skill("a", "\nDo this.\n")];
    assert_eq!(bench.learn(&skills).len(), 1);
    let prompt = bench.say();
    let expected = "Be brief.\n\n# Skills\n\n## a\n\nAbout a.\n\nDo this.\n\n## b\n\nAbout b. Its \
                    program is the tool `skill.b`.\n\nCall it.";
    assert_eq!(&*prompt.system, expected);
    assert_eq!(names(&prompt), ["system.run", "skill.b"]);
    assert_eq!(bench.learn(&skills), [], "they are known");
    bench.check();
}

#[test]
fn beyond_the_budget_a_skill_is_told_of_and_can_be_read() {
    let mut bench = Bench::new(|settings| settings.limits.skills_bytes = 60);
    bench.learn(&[
        skill("a", "short"),
        skill("b", &"long ".repeat(20)),
        skill("c", "short"),
    ]);
    let prompt = bench.say();
    bench.reply(&[]);
    assert!(
        prompt.system.contains("## a\n\nAbout a.\n\nshort"),
        "{}",
        prompt.system
    );
    assert!(
        prompt.system.contains("## c\n\nAbout c.\n\nshort"),
        "{}",
        prompt.system
    );
    assert!(
        prompt
            .system
            .ends_with("`skill.read` before you use it.\n\n- b: About b.")
    );
    assert!(!prompt.system.contains("long"));
    assert_eq!(names(&prompt), ["system.run", "skill.read"]);
    assert_eq!(bench.read(r#"{"name":"b"}"#), "long ".repeat(20));
    assert_eq!(bench.read(r#"{"name":"a"}"#), "short");
    assert!(
        bench
            .read(r#"{"name":"x"}"#)
            .ends_with("there are: a, b, c")
    );
    assert!(
        bench
            .read(r#"{"name":7}"#)
            .starts_with("did not work: `name`")
    );
    assert!(bench.read("{}").starts_with("did not work: `name`"));
    bench.check();
}

#[test]
fn reading_is_no_business_of_the_person() {
    let mut bench = Bench::new(|settings| {
        settings.limits.skills_bytes = 0;
        settings.policy.mode = Mode::ReadOnly;
    });
    bench.learn(&[skill("a", "body")]);
    assert_eq!(bench.read(r#"{"name":"a"}"#), "body");
    assert_eq!(bench.effects.len(), bench.said, "deliveries alone");
}

#[test]
fn a_program_that_changes_nothing_runs_without_a_question() {
    let mut bench = Bench::new(|_| {});
    bench.learn(&[with_program("b")]);
    bench.say();
    bench.reply(&[("skill.b", r#"{"x":1}"#)]);
    let Some(Op::Sandbox(used)) = bench.effects.last().map(|effect| &effect.op) else {
        panic!("{:?}", bench.effects);
    };
    let Action::Create(task) = &used.action else {
        panic!("{used:?}");
    };
    assert_eq!(
        (task.tool.as_str(), task.arguments.as_str()),
        ("skill.b", r#"{"x":1}"#)
    );
    bench.check();
}

#[test]
fn what_is_learned_holds_until_it_is_learned_anew() {
    let mut bench = Bench::new(|_| {});
    bench.learn(&[skill("a", "one")]);
    bench.settings.system = "Be kind.".into();
    bench.boot();
    assert_eq!(
        bench.learn(&[skill("a", "one")]),
        [],
        "the last life knew it"
    );
    let prompt = bench.say();
    assert!(
        prompt.system.starts_with("Be kind.\n\n# Skills"),
        "{}",
        prompt.system
    );
    // The turn that goes on is told of the change with its next call.
    assert_eq!(bench.learn(&[skill("a", "two")]).len(), 1);
    bench.reply(&[("skill.none", "{}")]);
    let next = bench.asked.clone().expect("it is called again").2;
    assert!(
        next.system.contains("two") && !next.system.contains("one"),
        "{}",
        next.system
    );
    bench.reply(&[]);
    bench.learn(&[]);
    assert_eq!(&*bench.say().system, "Be kind.");
    bench.check();
}

#[test]
fn law_18_what_is_beyond_the_bounds_is_left_out() {
    let mut bench = Bench::new(|settings| {
        settings.limits.skills = 2;
        settings.limits.skill_bytes = 10;
    });
    let twice = skill("a", "again");
    bench.learn(&[
        skill("c", "third"),
        skill("b", "much too long"),
        skill("a", "first"),
        twice,
        skill("d", "fourth"),
    ]);
    let known: Vec<&str> = bench
        .core
        .state()
        .skills()
        .iter()
        .map(|s| s.name.as_str())
        .collect();
    assert_eq!(known, ["a", "c"]);
    assert_eq!(&*bench.core.state().skills()[0].body, "first");
    bench.check();
}
