//! As much JSON as a small skill needs, so that it needs no dependency. A larger one takes
//! `serde_json`.

/// The deepest nesting that is read.
const DEPTH: usize = 64;

#[derive(Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Number(f64),
    String(String),
    Array(Vec<Value>),
    Object(Vec<(String, Value)>),
}

impl Value {
    /// What an object has under this key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Object(fields) => {
                let found = fields.iter().find(|(name, _)| name == key);
                found.map(|(_, value)| value)
            }
            _ => None,
        }
    }
}

/// Reads one value and nothing behind it.
pub fn parse(text: &str) -> Option<Value> {
    let mut reader = Reader { rest: text };
    let value = reader.value(DEPTH)?;
    reader.skip_blanks();
    Some(value).filter(|_| reader.rest.is_empty())
}

/// The text as a JSON string.
pub fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

struct Reader<'t> {
    rest: &'t str,
}

impl<'t> Reader<'t> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches(&[' ', '\t', '\n', '\r'][..]);
    }

    /// Takes this text, if it comes next.
    fn take(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// The same behind blanks.
    fn take_mark(&mut self, mark: &str) -> bool {
        self.skip_blanks();
        self.take(mark)
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        let depth = depth.checked_sub(1)?;
        self.skip_blanks();
        match self.rest.chars().next()? {
            '{' => self.object(depth),
            '[' => self.array(depth),
            '"' => self.string().map(Value::String),
            _ if self.take("null") => Some(Value::Null),
            _ if self.take("true") => Some(Value::Bool(true)),
            _ if self.take("false") => Some(Value::Bool(false)),
            _ => self.number(),
        }
    }

    fn object(&mut self, depth: usize) -> Option<Value> {
        let mut fields = Vec::new();
        self.take("{");
        if self.take_mark("}") {
            return Some(Value::Object(fields));
        }
        loop {
            self.skip_blanks();
            let name = self.string()?;
            if !self.take_mark(":") {
                return None;
            }
            fields.push((name, self.value(depth)?));
            if self.take_mark("}") {
                return Some(Value::Object(fields));
            }
            if !self.take_mark(",") {
                return None;
            }
        }
    }

    fn array(&mut self, depth: usize) -> Option<Value> {
        let mut values = Vec::new();
        self.take("[");
        if self.take_mark("]") {
            return Some(Value::Array(values));
        }
        loop {
            values.push(self.value(depth)?);
            if self.take_mark("]") {
                return Some(Value::Array(values));
            }
            if !self.take_mark(",") {
                return None;
            }
        }
    }

    fn number(&mut self) -> Option<Value> {
        let is_part = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (number, rest) = self.rest.split_at(end);
        self.rest = rest;
        number.parse().ok().map(Value::Number)
    }

    fn string(&mut self) -> Option<String> {
        if !self.take("\"") {
            return None;
        }
        let mut out = String::new();
        loop {
            let mut chars = self.rest.chars();
            let c = chars.next()?;
            self.rest = chars.as_str();
            match c {
                '"' => return Some(out),
                '\\' => out.push(self.escaped()?),
                c if c < ' ' => return None,
                c => out.push(c),
            }
        }
    }

    fn escaped(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next()?;
        self.rest = chars.as_str();
        Some(match c {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => return self.unicode(),
            '"' | '\\' | '/' => c,
            _ => return None,
        })
    }

    /// Four hexadecimal digits, or twice four for what lies beyond them.
    fn unicode(&mut self) -> Option<char> {
        let first = self.four_digits()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first);
        }
        if !self.take("\\u") {
            return None;
        }
        let second = self.four_digits()?.checked_sub(0xdc00)?;
        char::from_u32(0x10000 + ((first - 0xd800) << 10) + second)
    }

    fn four_digits(&mut self) -> Option<u32> {
        let digits = self.rest.get(..4)?;
        self.rest = &self.rest[4..];
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        u32::from_str_radix(digits, 16).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read() {
        let text = r#" {"a":[1,-2.5e3,true,null],"b":{"c":"\"\\\/\n\u00e9\ud83d\ude00é"},"d":[]} "#;
        let value = parse(text).unwrap();
        let numbers = vec![
            Value::Number(1.0),
            Value::Number(-2500.0),
            Value::Bool(true),
            Value::Null,
        ];
        assert_eq!(value.get("a"), Some(&Value::Array(numbers)));
        let inner = value.get("b").and_then(|b| b.get("c"));
        assert_eq!(inner, Some(&Value::String("\"\\/\né😀é".to_owned())));
        assert_eq!(value.get("d"), Some(&Value::Array(Vec::new())));
    }

    #[test]
    fn what_is_not_json_is_not_read() {
        let deep = "[".repeat(100_000);
        for text in [
            "",
            "{",
            "[1,]",
            "{\"a\"}",
            "\"\\x\"",
            "\"\\ud83d\"",
            "nul",
            "1 2",
            "\"\n\"",
            &deep,
        ] {
            assert_eq!(parse(text), None, "{}", text);
        }
    }

    #[test]
    fn what_is_quoted_is_read_again() {
        let text = "a\"b\\c\n\u{1}é😀";
        assert_eq!(parse(&quote(text)), Some(Value::String(text.to_owned())));
    }
}
