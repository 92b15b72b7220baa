//! A skill in WebAssembly, as small as it gets: it greets whoever it is told to.
//!
//! [`greet`] is the skill, [`json`] reads and writes as much JSON as it needs, and [`abi`] is what
//! every skill in Rust can take over as it is.

mod abi;
mod json;

use json::Value;

/// The skill itself: from its arguments to its output, or to what is wrong with them.
fn greet(arguments: &Value) -> Result<String, String> {
    let name = match arguments.get("name") {
        None | Some(Value::Null) => "world",
        Some(Value::String(name)) if name.trim().is_empty() => {
            return Err("`name` is empty: give somebody's name".to_owned());
        }
        Some(Value::String(name)) => name.trim(),
        Some(_) => return Err("`name` must be a string".to_owned()),
    };
    // Whatever is printed is shown as progress; the result is what is returned.
    eprintln!("greeting {}", name);
    Ok(format!("Hello, {}!", name))
}

/// From the request's JSON to the answer's.
fn answer(request: &str) -> String {
    let request = json::parse(request).unwrap_or(Value::Null);
    let text = |key| match request.get(key) {
        Some(Value::String(text)) => text.as_str(),
        _ => "",
    };
    let arguments = request.get("arguments").unwrap_or(&Value::Null);
    let (output, is_error) = match greet(arguments) {
        Ok(output) => (output, false),
        Err(problem) => (problem, true),
    };
    format!(
        r#"{{"call_id":{},"tool_name":{},"output":{},"is_error":{}}}"#,
        json::quote(text("id")),
        json::quote(text("name")),
        json::quote(&output),
        is_error
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer_to(arguments: &str) -> String {
        answer(&format!(
            r#"{{"id":"7.0","name":"hello-wasm","arguments":{}}}"#,
            arguments
        ))
    }

    #[test]
    fn it_greets() {
        assert_eq!(
            answer_to(r#"{"name":"Ada \"the first\""}"#),
            r#"{"call_id":"7.0","tool_name":"hello-wasm","output":"Hello, Ada \"the first\"!","is_error":false}"#
        );
        assert!(answer_to("{}").contains("Hello, world!"));
    }

    #[test]
    fn it_says_what_is_wrong() {
        for arguments in [r#"{"name":7}"#, r#"{"name":" "}"#] {
            assert!(answer_to(arguments).ends_with(r#""is_error":true}"#));
        }
    }
}
