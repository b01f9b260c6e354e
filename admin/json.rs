//! Reads a body's JSON so that nothing in it is passed over. What is no JSON is refused with its place, and so is a name
//! that stands twice in one object, for one reader takes the first of them and another the last.

use crate::error_body::Issue;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::{Map, Number, Value};
use std::fmt;

/// The object that a body is.
pub(crate) fn read_object(bytes: &[u8]) -> Result<Map<String, Value>, Issue> {
    match serde_json::from_slice(bytes) {
        Ok(Strict(Value::Object(values))) => Ok(values),
        Ok(Strict(other)) => {
            let message = format!("Expected object, received {}", type_of(&other));
            Err(Issue { path: Vec::new(), message, code: "invalid_type" })
        }
        Err(error) => Err(Issue { path: Vec::new(), message: explained(&error), code: "invalid_json" }),
    }
}

pub(crate) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// What is wrong, at which line and column, and how to mend it.
fn explained(error: &serde_json::Error) -> String {
    let what = error.to_string();
    let mend = match error.classify() {
        Category::Eof => "the body breaks off, so send the whole of it",
        Category::Data => "say it once",
        _ if what.starts_with("trailing comma") => "leave out the comma",
        _ if what.starts_with("trailing characters") => "send one JSON object and nothing behind it",
        _ if what.starts_with("number out of range") => "a number may be up to 1.7e308",
        _ if what.starts_with("recursion limit") => "nest at most 127 deep",
        Category::Syntax | Category::Io => "send a JSON object, whatever the Content-Type says",
    };
    format!("The body cannot be read as JSON: {what}; {mend}")
}

/// JSON in which no object has a name twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Strict, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = access.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            if values.contains_key(&name) {
                return Err(A::Error::custom(format_args!("the field {name:?} is given twice")));
            }
            let Strict(value) = access.next_value()?;
            values.insert(name, value);
        }
        Ok(values.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_told_with_its_place_and_how_to_mend_it() {
        let deep = format!("{{\"a\":{}", "[".repeat(200));
        for (body, why) in [
            (
                "{\"a\":",
                "EOF while parsing a value at line 1 column 5; the body breaks off, so send the whole of it",
            ),
            (
                "{\"a\":1",
                "EOF while parsing an object at line 1 column 6; the body breaks off, so send the whole of it",
            ),
            ("{\"a\":1,}", "trailing comma at line 1 column 8; leave out the comma"),
            ("{\"a\":\n1e400}", "number out of range at line 2 column 5; a number may be up to 1.7e308"),
            (&deep, "recursion limit exceeded at line 1 column 132; nest at most 127 deep"),
            ("{} {}", "trailing characters at line 1 column 4; send one JSON object and nothing behind it"),
            (
                "maxCostUsd=5",
                "expected value at line 1 column 1; send a JSON object, whatever the Content-Type says",
            ),
            (
                "{\"a\":NaN}",
                "expected value at line 1 column 6; send a JSON object, whatever the Content-Type says",
            ),
            ("{\"a\":1,\"a\":2}", "the field \"a\" is given twice at line 1 column 10; say it once"),
            ("{\"a\":1,\"\\u0061\":2}", "the field \"a\" is given twice at line 1 column 15; say it once"),
            (
                "{\"b\":[{\"a\":1,\"a\":2}]}",
                "the field \"a\" is given twice at line 1 column 16; say it once",
            ),
        ] {
            let issue = read_object(body.as_bytes()).unwrap_err();
            assert_eq!(issue.message, format!("The body cannot be read as JSON: {why}"), "{body}");
            assert_eq!(issue.code, "invalid_json");
        }
        for body in
            [&b"{\"a\":\"\xff\"}"[..], b"\xef\xbb\xbf{}", b"{\"a\":\"\0\"}", b"{'a':1}", b"{a:1}", b"{}}"]
        {
            assert_eq!(read_object(body).unwrap_err().code, "invalid_json", "{body:?}");
        }
        assert_eq!(read_object(b"[1]").unwrap_err().message, "Expected object, received array");
    }

    #[test]
    fn what_is_json_is_read_as_any_reader_reads_it() {
        let body = r#" {"a":[1,-1,1.5,1e3,18446744073709551615,true,null,"é"],"b":{"a":{"a":1}}} "#;
        let Value::Object(expected) = serde_json::from_str(body).unwrap() else { panic!("an object") };
        assert_eq!(read_object(body.as_bytes()).unwrap(), expected);
    }
}
