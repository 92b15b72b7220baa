//! What a guest and we have agreed on: its exports, and the JSON that goes in and comes out.
//!
//! A guest exports `memory`, `alloc(i32) -> i32`, `run(i32, i32) -> i64`, and may export
//! `dealloc(i32, i32)` and `_initialize()`. We initialise it, let it `alloc` room for
//! `{"id","name","arguments"}`, and `run` on it; it returns the place of
//! `{"call_id","tool_name","output","is_error"}` as `ptr << 32 | len`. An instance serves one call
//! and all of its memory goes with it, so we never call `dealloc`.
//!
//! Nothing that a guest says is believed before it was looked at: every place must lie in its
//! memory, and the answer must be JSON of that shape, for this call.

use super::world::State;
use openpista_shell_smol::guest::line::Request;
use serde::Deserialize;
use std::ops::Range;
use wasmtime::{
    ExternType, FuncType, Instance, InstancePre, Memory, Module, Store, TypedFunc, ValType,
    WasmParams, WasmResults,
};

/// An exported function of the agreement.
struct Export {
    name: &'static str,
    /// As [`signature`] writes it.
    wanted: &'static str,
    needed: bool,
}

const EXPORTS: [Export; 4] = [
    Export {
        name: "alloc",
        wanted: "alloc(i32) -> i32",
        needed: true,
    },
    Export {
        name: "run",
        wanted: "run(i32, i32) -> i64",
        needed: true,
    },
    Export {
        name: "dealloc",
        wanted: "dealloc(i32, i32)",
        needed: false,
    },
    Export {
        name: INITIALIZE,
        wanted: "_initialize()",
        needed: false,
    },
];

/// What a library in Rust, C or Go exports when its runtime has to be set up first.
const INITIALIZE: &str = "_initialize";

/// Holds a module against the agreement before anything runs. The error is the end of a sentence
/// that begins with the module's name.
pub(super) fn check(module: &Module, memory_bytes: u64) -> Result<(), String> {
    match module.get_export("memory") {
        Some(ExternType::Memory(memory)) => {
            let least = memory.minimum().saturating_mul(memory.page_size());
            if least > memory_bytes {
                return Err(format!(
                    "wants {least} bytes of memory from its start, and may have {memory_bytes}"
                ));
            }
        }
        Some(_) => return Err("exports a `memory` that is not one".to_owned()),
        None => return Err("exports no `memory`".to_owned()),
    }
    EXPORTS
        .iter()
        .try_for_each(|export| export.check(module))
        .map_err(|problem| match module.get_export("_start") {
            Some(_) => format!("{problem}; it is a command, but a skill is a library (cdylib)"),
            None => problem,
        })
}

impl Export {
    fn check(&self, module: &Module) -> Result<(), String> {
        let Export {
            name,
            wanted,
            needed,
        } = self;
        match module.get_export(name) {
            Some(ExternType::Func(found)) => match signature(name, &found) {
                found if found == *wanted => Ok(()),
                found => Err(format!("exports `{found}` where `{wanted}` belongs")),
            },
            Some(_) => Err(format!("exports a `{name}` that is not a function")),
            None if *needed => Err(format!("exports no `{wanted}`")),
            None => Ok(()),
        }
    }
}

/// A function as people write it.
fn signature(name: &str, function: &FuncType) -> String {
    let list = |types: &mut dyn Iterator<Item = ValType>| {
        let names: Vec<String> = types.map(|of| of.to_string()).collect();
        names.join(", ")
    };
    let params = list(&mut function.params());
    match list(&mut function.results()) {
        results if results.is_empty() => format!("{name}({params})"),
        results => format!("{name}({params}) -> {results}"),
    }
}

/// A request as a guest reads it.
fn to_json(request: &Request) -> String {
    let id = serde_json::Value::from(request.id.as_str());
    let name = serde_json::Value::from(request.tool.as_str());
    let arguments = &request.arguments;
    format!(r#"{{"id":{id},"name":{name},"arguments":{arguments}}}"#)
}

/// What a guest answered.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    call_id: String,
    tool_name: String,
    pub(super) output: String,
    pub(super) is_error: bool,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Broken {
    /// It ended in the middle: where, and how.
    Ended(&'static str, wasmtime::Error),
    /// It did not keep to the agreement.
    Agreement(String),
}

/// Instantiates a guest and lets it answer one request.
pub(super) fn call(
    store: &mut Store<State>,
    guest: &InstancePre<State>,
    request: &Request,
) -> Result<Answer, Broken> {
    let ended = |place| move |error| Broken::Ended(place, error);
    let instance = guest
        .instantiate(&mut *store)
        .map_err(ended("while it was set up"))?;
    if let Some(initialize) = instance.get_func(&mut *store, INITIALIZE) {
        let initialize = initialize.typed::<(), ()>(&*store);
        initialize
            .and_then(|initialize| initialize.call(&mut *store, ()))
            .map_err(ended("in `_initialize`"))?;
    }
    let memory = instance.get_memory(&mut *store, "memory");
    let memory = memory.ok_or_else(|| lie("it exports no `memory`"))?;
    let alloc = function::<i32, i32>(store, &instance, "alloc")?;
    let run = function::<(i32, i32), i64>(store, &instance, "run")?;

    let json = to_json(request);
    let len =
        i32::try_from(json.len()).map_err(|_| lie("the arguments are too long for its memory"))?;
    let at = alloc.call(&mut *store, len).map_err(ended("in `alloc`"))?;
    let room = match at {
        0 => Err(lie(&format!("`alloc` found no room for {len} bytes"))),
        at => place(store, &memory, at.cast_unsigned(), len.cast_unsigned())
            .map_err(|outside| lie(&format!("`alloc` returned {outside}"))),
    }?;
    memory.data_mut(&mut *store)[room].copy_from_slice(json.as_bytes());

    let packed = run
        .call(&mut *store, (at, len))
        .map_err(ended("in `run`"))?
        .cast_unsigned();
    let (at, len) = ((packed >> 32) as u32, packed as u32);
    let answer = place(store, &memory, at, len)
        .map_err(|outside| lie(&format!("`run` returned {outside}")))?;
    let answer: Answer = serde_json::from_slice(&memory.data(&*store)[answer])
        .map_err(|error| lie(&format!("its answer is not what was agreed on: {error}")))?;
    match (&answer.call_id, &answer.tool_name) == (&request.id, &request.tool) {
        true => Ok(answer),
        false => Err(lie(&format!(
            "its answer is for the call {:?} of {:?}, and this one is {:?} of {:?}",
            answer.call_id, answer.tool_name, request.id, request.tool
        ))),
    }
}

fn lie(what: &str) -> Broken {
    Broken::Agreement(what.to_owned())
}

fn function<P: WasmParams, R: WasmResults>(
    store: &mut Store<State>,
    instance: &Instance,
    name: &str,
) -> Result<TypedFunc<P, R>, Broken> {
    let found = instance.get_typed_func(&mut *store, name);
    found.map_err(|error| lie(&format!("`{name}`: {error}")))
}

/// Where that is in the guest's memory, or a text that says that it is not.
fn place(store: &Store<State>, memory: &Memory, at: u32, len: u32) -> Result<Range<usize>, String> {
    let size = memory.data_size(store);
    within(size, at, len).ok_or_else(|| {
        format!("{len} bytes at {at}, which is outside of its memory of {size} bytes")
    })
}

fn within(size: usize, at: u32, len: u32) -> Option<Range<usize>> {
    let start = usize::try_from(at).ok()?;
    let end = start.checked_add(usize::try_from(len).ok()?)?;
    (end <= size).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_inside_is_within() {
        assert_eq!(within(10, 0, 10), Some(0..10));
        assert_eq!(within(10, 10, 0), Some(10..10));
        assert_eq!(within(10, 1, 10), None);
        assert_eq!(within(10, 11, 0), None);
        assert_eq!(within(10, u32::MAX, u32::MAX), None);
    }

    #[test]
    fn a_request_is_json_whatever_it_is_called() {
        let request = Request {
            skill: "s".to_owned(),
            id: "1.0".to_owned(),
            tool: "a\"b".to_owned(),
            arguments: r#"{"n":12345678901234567890123}"#.to_owned(),
        };
        assert_eq!(
            to_json(&request),
            r#"{"id":"1.0","name":"a\"b","arguments":{"n":12345678901234567890123}}"#
        );
    }
}
