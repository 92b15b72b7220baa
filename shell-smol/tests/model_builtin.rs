//! The model inside the program, through the same calls as any other.

use futures_lite::future::block_on;
use openpista_core::digest::Digest;
use openpista_core::effect::model::{CallModel, Reply};
use openpista_core::effect::tool::{Clip, Exit, Ran, ToolFault};
use openpista_core::effect::{Outcome, Recovery};
use openpista_core::id::{Seq, SessionId, TurnId};
use openpista_core::message::{Entry, Message, Prompt, ToolCall, ToolSpec};
use openpista_shell_smol::effect::Stop;
use openpista_shell_smol::effect::model::{Models, Provider};
use std::convert::Infallible;

fn answer(tools: &[&str], messages: Vec<Message>) -> Reply {
    let spec = |name: &&str| ToolSpec {
        name: (*name).into(),
        description: "Does things.".into(),
        parameters: r#"{"type":"object"}"#.into(),
        recovery: Recovery::Doubt,
        read_only: false,
        timeout_ms: 30_000,
        sandbox: None,
    };
    let prompt = Prompt {
        model: "builtin".into(),
        system: "Be brief.".into(),
        tools: tools.iter().map(spec).collect(),
        messages: messages.into_iter().map(Entry::new).collect(),
        shown: 0,
    };
    let call = CallModel {
        session: SessionId(Seq(1)),
        turn: TurnId(Seq(2)),
        round: 1,
        prompt: Digest::of(&[]),
        timeout_ms: 60_000,
    };
    let models = Models::new(Provider::builtin(), 100_000).expect("nothing to go wrong");
    let (_alive, closed) = async_channel::bounded::<Infallible>(1);
    let stop = Stop::when_closed(closed);
    match block_on(models.call(&call, &prompt, stop, |_| {})) {
        Outcome::Model(result) => result.expect("the builtin model always answers"),
        other => panic!("a model call came to {other:?}"),
    }
}

fn user(text: &str) -> Message {
    Message::User { text: text.into() }
}

/// The commands that the model wants run after a person's first message.
fn commands(text: &str) -> Vec<String> {
    commands_of(&answer(&["system.run"], vec![user(text)]))
}

fn commands_of(reply: &Reply) -> Vec<String> {
    let command = |call: &ToolCall| {
        assert_eq!(call.tool, "system.run");
        let arguments: serde_json::Value =
            serde_json::from_str(&call.arguments).expect("arguments are JSON");
        arguments["command"].as_str().expect("a command").to_owned()
    };
    reply.calls.iter().map(command).collect()
}

/// The report on commands with these results.
fn report(results: &[(&str, &str)]) -> String {
    let calls = |(index, (command, _)): (usize, &(&str, &str))| ToolCall {
        id: format!("c{index}"),
        tool: "system.run".into(),
        arguments: serde_json::json!({ "command": command }).to_string(),
    };
    // A turn that is over, with an id that the provider uses again, is not reported again.
    let mut messages = vec![
        user("! earlier"),
        asked("c0", "earlier"),
        gave("c0", "from earlier\n"),
        Message::Assistant {
            text: "An earlier turn.".into(),
            calls: Vec::new(),
        },
        user("! now"),
        Message::Assistant {
            text: String::new(),
            calls: results.iter().enumerate().map(calls).collect(),
        },
    ];
    for (index, (_, content)) in results.iter().enumerate() {
        messages.push(Message::Tool {
            call_id: format!("c{index}"),
            content: (*content).into(),
            pictures: vec![],
        });
    }
    let reply = answer(&["system.run"], messages);
    assert_eq!(reply.calls, []);
    reply.text
}

fn asked(id: &str, command: &str) -> Message {
    let call = ToolCall {
        id: id.into(),
        tool: "system.run".into(),
        arguments: serde_json::json!({ "command": command }).to_string(),
    };
    Message::Assistant {
        text: String::new(),
        calls: vec![call],
    }
}

fn gave(id: &str, out: &str) -> Message {
    Message::Tool {
        call_id: id.into(),
        content: ran(Exit::Code(0), out, ""),
        pictures: vec![],
    }
}

/// What the model reads of a run.
fn ran(exit: Exit, stdout: &str, stderr: &str) -> String {
    let clip = |text: &str| Clip {
        text: text.into(),
        cut_chars: 0,
    };
    openpista_core::effect::tool::render(&Ok(Ran {
        exit,
        stdout: clip(stdout),
        stderr: clip(stderr),
        took_ms: 1,
        pictures: Vec::new(),
    }))
}

#[test]
fn requests_become_commands() {
    let table = [
        ("! uname -a", "uname -a"),
        ("!uname -a", "uname -a"),
        ("run uname -a", "uname -a"),
        ("Run `uname -a`", "uname -a"),
        ("RUN\n  echo $(date)", "echo $(date)"),
        ("run echo `date` `date`", "echo `date` `date`"),
        ("run `date` `date`", "`date` `date`"),
        ("! cat <<END\none\nEND", "cat <<END\none\nEND"),
        ("What time is it?", "date"),
        ("date", "date"),
        ("tell me the time, please", "date"),
        ("Please tell me the time", "date"),
        ("How much disk space is free?", "df -h"),
        ("disk space", "df -h"),
        ("Who am I?", "whoami"),
        ("uptime", "uptime"),
        ("Show memory usage", "free -h"),
        ("what system is this", "uname -a"),
        ("list files", "ls -la"),
        ("List the files in /etc", "ls -la /etc"),
        ("show me the files in this directory", "ls -la"),
        ("list files in My Documents", "ls -la 'My Documents'"),
        ("list files in ~/My Documents", "ls -la ~/'My Documents'"),
        ("list files in ~", "ls -la ~"),
        ("list files in x; rm -rf y", "ls -la 'x; rm -rf y'"),
        ("list files in a'b", r"ls -la 'a'\''b'"),
        ("list files in $(reboot)", "ls -la '$(reboot)'"),
        ("list files in -R", "ls -la ./-R"),
        ("list files in ~root;reboot", "ls -la '~root;reboot'"),
        ("hello", ""),
        ("!", ""),
        ("run", ""),
        ("running late", ""),
        ("", ""),
        ("time flies", ""),
        ("ru\u{fc}n", ""),
    ];
    for (text, command) in table {
        let expected: Vec<&str> = [command].into_iter().filter(|c| !c.is_empty()).collect();
        assert_eq!(commands(text), expected, "{text:?}");
    }
}

#[test]
fn marked_lines_run_side_by_side() {
    assert_eq!(
        commands("! one\n\n!two\n  ! three"),
        ["one", "two", "three"]
    );
    let reply = answer(&["system.run"], vec![user("! one\n! two")]);
    assert_ne!(reply.calls[0].id, reply.calls[1].id);
}

#[test]
fn anything_else_gets_help() {
    let reply = answer(&["system.run"], vec![user("Hello there!")]);
    assert_eq!(reply.calls, []);
    for hint in ["OPENAI_API_KEY", "Ollama", "`provider`", "`! COMMAND`"] {
        assert!(reply.text.contains(hint), "{}", reply.text);
    }
}

#[test]
fn without_the_tool_it_says_so() {
    let reply = answer(&["other.tool"], vec![user("! ls")]);
    assert!(reply.text.contains("not on offer"), "{}", reply.text);
    assert_eq!(reply.calls, []);
}

#[test]
fn a_success_is_one_code_block() {
    let out = "Linux box 6.1\n";
    let shown = report(&[("uname -a", &ran(Exit::Code(0), out, ""))]);
    assert_eq!(shown, "```\nLinux box 6.1\n```");
}

#[test]
fn the_fence_is_longer_than_any_in_the_output() {
    let shown = report(&[(
        "cat README.md",
        &ran(Exit::Code(0), "````\ncode\n````\n", ""),
    )]);
    assert_eq!(shown, "`````\n````\ncode\n````\n`````");
}

#[test]
fn a_failure_shows_both_streams_and_the_exit() {
    let shown = report(&[("make", &ran(Exit::Code(2), "building\n", "no rule\n"))]);
    assert_eq!(
        shown,
        "```\nbuilding\n```\n\nStandard error:\n\n```\nno rule\n```\n\nIt ended with exit code 2."
    );
    let silent = report(&[("false", &ran(Exit::Code(1), "", ""))]);
    assert_eq!(silent, "It ended with exit code 1.");
    let killed = report(&[("sleep 99", &ran(Exit::TimedOut, "so far\n", ""))]);
    assert!(killed.starts_with("```\nso far\n```\n\n"), "{killed}");
    assert!(killed.contains("timed out"), "{killed}");
}

#[test]
fn a_silent_success_is_told() {
    let shown = report(&[("touch it", &ran(Exit::Code(0), "", ""))]);
    assert_eq!(shown, "`touch it` is done and printed nothing.");
}

#[test]
fn a_call_without_a_result_is_told_in_a_sentence() {
    let fault = ToolFault::Start {
        message: "no such directory".into(),
    };
    let unstarted = openpista_core::effect::tool::render(&Err(fault));
    let table = [
        (
            "denied, nothing ran: the person said no. Do not try it another way.",
            "did not run: the person said no.",
        ),
        (
            "in doubt: it may have run.",
            "is in doubt: it may have run.",
        ),
        (&unstarted, "could not be started: no such directory."),
        (&ran(Exit::TimedOut, "", ""), "timed out and was killed."),
        (&ran(Exit::Cancelled, "", ""), "was stopped by a person."),
        (&ran(Exit::Signal(9), "", ""), "was killed by signal 9."),
        ("something new", "gave no result: something new."),
    ];
    for (result, told) in table {
        assert_eq!(
            report(&[("rm `it`", result)]),
            format!("`` rm `it` `` {told}")
        );
    }
}

#[test]
fn every_result_is_reported_under_its_command() {
    let shown = report(&[
        ("one", &ran(Exit::Code(0), "1\n", "")),
        ("two", "denied, nothing ran: no"),
        ("three", &ran(Exit::Code(0), "", "")),
    ]);
    assert_eq!(
        shown,
        "`one`:\n\n```\n1\n```\n\n`two` did not run: no.\n\n\
         `three` is done and printed nothing."
    );
}

#[test]
fn a_call_without_a_command_is_told_by_its_tool() {
    let asked = |id: &str, tool: &str| ToolCall {
        id: id.into(),
        tool: tool.into(),
        arguments: "{}".into(),
    };
    let denied = |id: &str| Message::Tool {
        call_id: id.into(),
        content: "denied, nothing ran: no".into(),
        pictures: vec![],
    };
    let calls = vec![asked("a", "screen.capture"), asked("b", "worker.run")];
    let messages = vec![
        user("screen.capture {}"),
        Message::Assistant {
            text: String::new(),
            calls,
        },
        denied("a"),
        denied("b"),
    ];
    let shown = answer(&["screen.capture", "worker.run"], messages).text;
    // As the person wrote it, and where they did not, as the provider knows it.
    assert_eq!(
        shown,
        "`screen.capture` did not run: no.\n\n`worker_run` did not run: no."
    );
}

#[test]
fn a_message_that_arrives_meanwhile_is_answered_too() {
    let mut messages = vec![
        user("! one"),
        asked("a", "one"),
        gave("a", "1\n"),
        user("! two"),
    ];
    let reply = answer(&["system.run"], messages.clone());
    assert_eq!(commands_of(&reply), ["two"]);
    messages.extend([asked("b", "two"), gave("b", "2\n")]);
    let shown = answer(&["system.run"], messages.clone()).text;
    assert_eq!(shown, "`one`:\n\n```\n1\n```\n\n`two`:\n\n```\n2\n```");
    messages.push(user("thanks"));
    let shown = answer(&["system.run"], messages).text;
    assert!(
        shown.starts_with("`one`:") && shown.contains("OPENAI_API_KEY"),
        "{shown}"
    );
}
