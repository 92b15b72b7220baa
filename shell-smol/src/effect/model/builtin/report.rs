//! What the tools of a turn gave, for the person to read.

use super::{content, is, plain, same_name};
use serde_json::Value;

/// Every result in the turn's messages, in order; empty when there is none.
pub(super) fn of_turn(turn: &[Value]) -> String {
    let results: Vec<&Value> = turn.iter().filter(|message| is("tool")(message)).collect();
    let alone = results.len() == 1;
    let report = |result: &&Value| {
        let subject = subject(turn, &result["tool_call_id"]);
        let report = of_result(content(result), &subject);
        match alone || report.names_subject {
            true => report.text,
            false => format!("{}:\n\n{}", inline(&subject), report.text),
        }
    };
    results.iter().map(report).collect::<Vec<_>>().join("\n\n")
}

struct Report {
    text: String,
    /// The text says what it is about.
    names_subject: bool,
}

/// What the call with this id is about: its command, else its tool, as the person wrote it.
fn subject(turn: &[Value], id: &Value) -> String {
    let calls = turn
        .iter()
        .filter_map(|message| message["tool_calls"].as_array());
    let call = calls.flatten().find(|call| call["id"] == *id);
    let function = call.map_or(&Value::Null, |call| &call["function"]);
    let arguments = function["arguments"].as_str().unwrap_or_default();
    let arguments: Value = serde_json::from_str(arguments).unwrap_or_default();
    let tool = || {
        let tool = function["name"].as_str().unwrap_or("a call");
        let asked = turn.iter().filter(|message| is("user")(message));
        let mut named = asked.filter_map(|message| plain::call(content(message)));
        named
            .find(|(name, _)| same_name(name, tool))
            .map_or(tool, |(name, _)| name)
    };
    arguments["command"]
        .as_str()
        .unwrap_or_else(tool)
        .to_owned()
}

fn of_result(result: &str, subject: &str) -> Report {
    let Some(ran) = Ran::parse(result) else {
        return Report {
            text: sentence(&inline(subject), result),
            names_subject: true,
        };
    };
    let fine = ran.exit == "exit code: 0";
    if fine && ran.stdout.is_empty() && ran.stderr.is_empty() {
        return Report {
            text: format!("{} is done and printed nothing.", inline(subject)),
            names_subject: true,
        };
    }
    let mut parts = Vec::new();
    if !ran.stdout.is_empty() {
        parts.push(fenced(ran.stdout));
    }
    if !ran.stderr.is_empty() {
        parts.push(format!("Standard error:\n\n{}", fenced(ran.stderr)));
    }
    if !fine || !ran.stderr.is_empty() {
        parts.push(sentence("It", ran.exit));
    }
    Report {
        text: parts.join("\n\n"),
        names_subject: false,
    }
}

/// How results begin that say what became of a call, and the same said of it in a sentence.
const ENDINGS: [(&str, &str); 8] = [
    ("exit code:", "ended with exit code"),
    ("killed", "was killed"),
    ("timed out", "timed out"),
    ("stopped", "was stopped"),
    ("did not run", "did not run"),
    ("could not be started", "could not be started"),
    ("denied, nothing ran", "did not run"),
    ("in doubt", "is in doubt"),
];

/// A sentence about `what` from a result that is meant for a model.
fn sentence(what: &str, result: &str) -> String {
    let result = result.trim();
    // What follows tells a model how to behave.
    let result = result
        .split_once(" Do not try")
        .map_or(result, |(before, _)| before);
    let said = |(start, verb): &(&str, &str)| {
        let rest = result.strip_prefix(start)?;
        Some(format!("{what} {verb}{rest}"))
    };
    let told = ENDINGS.iter().find_map(said);
    let mut told = told.unwrap_or_else(|| format!("{what} gave no result: {result}"));
    if !told.ends_with(['.', '!', '?']) {
        told.push('.');
    }
    told
}

/// A result in the form that a tool's run takes in the transcript: how it ended on the first line,
/// then what it printed, each part under its name.
struct Ran<'a> {
    exit: &'a str,
    stdout: &'a str,
    stderr: &'a str,
}

impl Ran<'_> {
    fn parse(result: &str) -> Option<Ran<'_>> {
        let (exit, rest) = result.split_once('\n').unwrap_or((result, ""));
        let (stdout, stderr) = match rest.strip_prefix("stdout:\n") {
            Some(rest) => rest.split_once("\nstderr:\n").unwrap_or((rest, "")),
            None => ("", rest.strip_prefix("stderr:\n").unwrap_or("")),
        };
        let ran = !stdout.is_empty() || !stderr.is_empty() || exit.starts_with("exit code: ");
        ran.then_some(Ran {
            exit,
            stdout,
            stderr,
        })
    }
}

/// The text in a code block whose fence is longer than any run of backticks in it.
fn fenced(text: &str) -> String {
    let fence = "`".repeat(longest_run(text).max(2) + 1);
    let text = text.strip_suffix('\n').unwrap_or(text);
    format!("{fence}\n{text}\n{fence}")
}

fn inline(code: &str) -> String {
    let code = code.replace('\n', " ");
    let tick = "`".repeat(longest_run(&code) + 1);
    match tick.len() {
        1 => format!("`{code}`"),
        _ => format!("{tick} {code} {tick}"),
    }
}

fn longest_run(text: &str) -> usize {
    let runs = text.split(|c| c != '`').map(str::len);
    runs.max().unwrap_or(0)
}
