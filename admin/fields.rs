//! Reads a request's fields and collects everything that is wrong with them, so that a caller hears it all at once.
//!
//! Start at [`Fields`]. A type of `dto` says in [`FromFields`] what it reads; [`Body`] and [`Query`] are the
//! extractors. Invariant: a field that is not asked for is an issue, too, with the nearest name that is known: a slip
//! must not leave out what was meant.

use crate::error::ApiError;
use crate::error_body::Issue;
use crate::json::{self, type_of};
use crate::now;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde_json::{Map, Value};
use std::ops::RangeInclusive;
use tokenist_core::http::query::decode;
use tokenist_core::money::NanoUsd;
use tokenist_core::time::Timestamp;

/// A type that is read from a JSON object or a query string.
pub(crate) trait FromFields: Sized {
    /// Whether a missing body counts as `{}`: only where nothing is made or replaced.
    const MAY_BE_MISSING: bool = false;

    /// A field that is wrong reads as if it were missing; its issue is kept and the whole is refused. `None` only
    /// where a field that is needed has left an issue.
    fn from_fields(fields: &mut Fields) -> Option<Self>;
}

#[derive(Debug)]
pub(crate) struct Fields {
    values: Map<String, Value>,
    source: Source,
    /// What was asked for, whether or not it was there.
    known: Vec<&'static str>,
    issues: Vec<Issue>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Body,
    /// Numbers arrive as text.
    Query,
}

impl Fields {
    /// The field must be there.
    pub(crate) fn required<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Fields, &'static str) -> Option<T>,
    ) -> Option<T> {
        self.know(name);
        match self.values.contains_key(name) {
            true => read(self, name),
            false => self.issue(name, "invalid_type", "Required"),
        }
    }

    /// For what replaces the whole of something: without a field it would take all of it away.
    pub(crate) fn need_one(&mut self, otherwise: &'static str) {
        if self.values.is_empty() {
            let message = otherwise.to_owned();
            self.issues.push(Issue { path: Vec::new(), message, code: "too_small" });
        }
    }

    /// All fields that were not read.
    pub(crate) fn rest(&mut self) -> Map<String, Value> {
        std::mem::take(&mut self.values)
    }

    /// Whether there is such a field, and it is not the empty text.
    pub(crate) fn has_text(&mut self, name: &'static str) -> bool {
        self.know(name);
        self.values.get(name).is_some_and(|value| value.as_str() != Some(""))
    }

    pub(crate) fn text(&mut self, name: &'static str, chars: RangeInclusive<usize>) -> Option<String> {
        let (min, max) = (*chars.start(), *chars.end());
        match self.take(name)? {
            Value::String(text) => match text.chars().count() {
                count if count < min => {
                    self.issue(name, "too_small", format!("String must contain at least {min} character(s)"))
                }
                count if count > max => {
                    self.issue(name, "too_big", format!("String must contain at most {max} character(s)"))
                }
                _ => Some(text),
            },
            other => self.mistyped(name, "string", &other),
        }
    }

    /// An ISO 8601 instant with its offset from UTC, or a date, which is taken as its UTC midnight. Instants before
    /// 1970 count as 1970.
    pub(crate) fn time(&mut self, name: &'static str) -> Option<Timestamp> {
        match self.take(name)? {
            Value::String(text) => match parse_time(&text) {
                Some(time) => Some(time),
                None => self.issue(name, "invalid_string", "Invalid datetime"),
            },
            other => self.mistyped(name, "string", &other),
        }
    }

    /// As [`Fields::time`], but the end of a span: of a mere date all of the day is meant.
    pub(crate) fn time_to(&mut self, name: &'static str) -> Option<Timestamp> {
        let is_date = self.values.get(name).and_then(Value::as_str).is_some_and(|text| date(text).is_some());
        let time = self.time(name)?;
        Some(if is_date { time.next_day_start() } else { time })
    }

    /// As [`Fields::time`], for what would otherwise be over before it begins.
    pub(crate) fn time_to_come(&mut self, name: &'static str) -> Option<Timestamp> {
        match self.time(name)? {
            time if time > now() => Some(time),
            _ => {
                self.issue(name, "too_small", "This time is past; give one that is to come, or leave it out")
            }
        }
    }

    pub(crate) fn dollars(&mut self, name: &'static str) -> Option<NanoUsd> {
        let number = self.number(name)?;
        match NanoUsd::from_usd(number) {
            _ if number < 0.0 => self.issue(name, "too_small", "Number must be greater than or equal to 0"),
            None => self.issue(name, "too_big", "Number must be less than 9 billion"),
            some => some,
        }
    }

    pub(crate) fn count(&mut self, name: &'static str, min: u64, max: u64) -> Option<u64> {
        let number = self.number(name)?;
        match number as u64 {
            _ if number.fract() != 0.0 => {
                self.issue(name, "invalid_type", "Expected integer, received float")
            }
            count if number < 0.0 || count < min => {
                self.issue(name, "too_small", format!("Number must be greater than or equal to {min}"))
            }
            count if count > max => {
                self.issue(name, "too_big", format!("Number must be less than or equal to {max}"))
            }
            count => Some(count),
        }
    }

    /// Whole milliseconds of what may be a fraction.
    pub(crate) fn milliseconds(&mut self, name: &'static str) -> Option<u64> {
        match self.number(name)? {
            ms if ms < 0.0 => self.issue(name, "too_small", "Number must be greater than or equal to 0"),
            ms => Some(ms.round() as u64),
        }
    }

    pub(crate) fn flag(&mut self, name: &'static str) -> Option<bool> {
        match (self.take(name)?, self.source) {
            (Value::Bool(flag), _) => Some(flag),
            (Value::String(text), Source::Query) if text == "true" || text == "false" => Some(text == "true"),
            (other, _) => self.mistyped(name, "boolean", &other),
        }
    }

    pub(crate) fn object(&mut self, name: &'static str) -> Option<Map<String, Value>> {
        match self.take(name)? {
            Value::Object(object) => Some(object),
            other => self.mistyped(name, "object", &other),
        }
    }

    /// One of `words`.
    pub(crate) fn word<T: Clone>(&mut self, name: &'static str, words: &[(&str, T)]) -> Option<T> {
        let value = self.take(name)?;
        self.word_of(name, &value, words)
    }

    /// An array of `words`, not empty.
    pub(crate) fn words<T: Clone>(&mut self, name: &'static str, words: &[(&str, T)]) -> Option<Vec<T>> {
        match self.take(name)? {
            Value::Array(values) if values.is_empty() => {
                self.issue(name, "too_small", "Array must contain at least 1 element(s)")
            }
            Value::Array(values) => values.iter().map(|value| self.word_of(name, value, words)).collect(),
            other => self.mistyped(name, "array", &other),
        }
    }

    fn word_of<T: Clone>(&mut self, name: &'static str, value: &Value, words: &[(&str, T)]) -> Option<T> {
        let Value::String(text) = value else { return self.mistyped(name, "string", value) };
        match words.iter().find(|(word, _)| word == text) {
            Some((_, value)) => Some(value.clone()),
            None => {
                let expected: Vec<_> = words.iter().map(|(word, _)| format!("'{word}'")).collect();
                let message = format!("Invalid enum value. Expected {}", expected.join(" | "));
                self.issue(name, "invalid_enum_value", message)
            }
        }
    }

    /// What `parse` makes of the parts of a text between commas, at most `max` of them. Empty if there is no such field.
    pub(crate) fn list<T, E: std::fmt::Display>(
        &mut self,
        name: &'static str,
        max: usize,
        parse: impl Fn(&[u8]) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        let Some(text) = self.take(name) else { return Some(Vec::new()) };
        let Value::String(text) = text else { return self.mistyped(name, "string", &text) };
        if text.split(',').count() > max {
            return self.issue(name, "too_big", format!("List must contain at most {max} element(s)"));
        }
        match text.split(',').map(|part| parse(part.as_bytes())).collect() {
            Ok(list) => Some(list),
            Err(error) => self.issue(name, "invalid_string", format!("An element of {name} {error}")),
        }
    }

    /// What `parse` makes of the texts of an array, at most `max` of them.
    pub(crate) fn texts<T, E: std::fmt::Display>(
        &mut self,
        name: &'static str,
        max: usize,
        parse: impl Fn(&[u8]) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        let values = match self.take(name)? {
            Value::Array(values) if values.len() <= max => values,
            Value::Array(_) => {
                return self.issue(name, "too_big", format!("Array must contain at most {max} element(s)"));
            }
            other => return self.mistyped(name, "array", &other),
        };
        let mut texts = Vec::with_capacity(values.len());
        for value in values {
            let Value::String(text) = value else { return self.mistyped(name, "string", &value) };
            match parse(text.as_bytes()) {
                Ok(value) => texts.push(value),
                Err(error) => {
                    return self.issue(name, "invalid_string", format!("An element of {name} {error}"));
                }
            }
        }
        Some(texts)
    }

    /// What `read` makes of an object's own fields.
    pub(crate) fn within<T>(&mut self, name: &'static str, read: impl FnOnce(&mut Fields) -> T) -> Option<T> {
        let values = self.object(name)?;
        let mut fields = Fields::new(values, self.source);
        let value = read(&mut fields);
        for mut issue in fields.into_issues() {
            issue.path.insert(0, name.into());
            self.issues.push(issue);
        }
        Some(value)
    }

    /// What `parse` makes of a text.
    pub(crate) fn parsed<T, E: std::fmt::Display>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&[u8]) -> Result<T, E>,
    ) -> Option<T> {
        match self.take(name)? {
            Value::String(text) => match parse(text.as_bytes()) {
                Ok(value) => Some(value),
                Err(error) => self.issue(name, "invalid_string", format!("{name} {error}")),
            },
            other => self.mistyped(name, "string", &other),
        }
    }

    pub(crate) fn number(&mut self, name: &'static str) -> Option<f64> {
        let value = self.take(name)?;
        let number = match (&value, self.source) {
            (Value::Number(number), _) => number.as_f64(),
            (Value::String(text), Source::Query) => {
                text.parse().ok().filter(|number: &f64| number.is_finite())
            }
            _ => None,
        };
        number.or_else(|| self.mistyped(name, "number", &value))
    }

    fn mistyped<T>(&mut self, name: &'static str, expected: &str, value: &Value) -> Option<T> {
        self.issue(name, "invalid_type", format!("Expected {expected}, received {}", type_of(value)))
    }

    pub(crate) fn issue<T>(
        &mut self,
        name: &'static str,
        code: &'static str,
        message: impl Into<String>,
    ) -> Option<T> {
        self.issues.push(Issue { path: vec![name.into()], message: message.into(), code });
        None
    }

    fn take(&mut self, name: &'static str) -> Option<Value> {
        self.know(name);
        self.values.remove(name)
    }

    fn know(&mut self, name: &'static str) {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
    }

    fn new(values: Map<String, Value>, source: Source) -> Fields {
        Fields { values, source, known: Vec::new(), issues: Vec::new() }
    }

    /// Also of what is there and was not asked for.
    fn into_issues(self) -> Vec<Issue> {
        let Fields { values, source, known, mut issues } = self;
        let unknown = values.into_iter().map(|(name, _)| name).filter(|name| !known.contains(&&**name));
        issues.extend(unknown.map(|name| {
            let message = unknown_name(source, &name, &known);
            Issue { path: vec![name], message, code: "unrecognized_keys" }
        }));
        issues
    }

    fn read<T: FromFields>(values: Map<String, Value>, source: Source) -> Result<T, ApiError> {
        let mut fields = Fields::new(values, source);
        let value = T::from_fields(&mut fields);
        let issues = fields.into_issues();
        match value.filter(|_| issues.is_empty()) {
            Some(value) => Ok(value),
            None => Err(ApiError::invalid(issues)),
        }
    }
}

fn unknown_name(source: Source, name: &str, known: &[&str]) -> String {
    let what = match source {
        Source::Body => "field",
        Source::Query => "parameter",
    };
    match nearest(name, known) {
        Some(nearest) => format!("Unknown {what} {name:?}; did you mean {nearest:?}?"),
        None => format!("Unknown {what} {name:?}: none is known here"),
    }
}

/// The known name that is most like this one.
pub(crate) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let likeness = |known: &str| strsim::jaro_winkler(known, name);
    known.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
}

/// For a request that has nothing to say: no body, or `{}`; no parameter in a query.
#[derive(Debug)]
pub(crate) struct Nothing;

impl FromFields for Nothing {
    const MAY_BE_MISSING: bool = true;

    fn from_fields(_: &mut Fields) -> Option<Nothing> {
        Some(Nothing)
    }
}

/// A request's body. Its Content-Type is not looked at. What is said in the query instead is told, unless a [`Query`] has
/// read it before.
#[derive(Debug)]
pub(crate) struct Body<T>(pub(crate) T);

impl<T: FromFields, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Body<T>, ApiError> {
        if request.extensions().get::<QueryIsRead>().is_none() {
            let Nothing = read_query(request.uri().query().unwrap_or_default())?;
        }
        let bytes = Bytes::from_request(request, state).await.map_err(|refused| match refused.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "Request body is too large")
            }
            _ => ApiError::new(StatusCode::BAD_REQUEST, "Request body broke off"),
        })?;
        read_body(&bytes).map(Body)
    }
}

fn read_body<T: FromFields>(bytes: &[u8]) -> Result<T, ApiError> {
    let is_missing = bytes.trim_ascii().is_empty();
    let values = match is_missing {
        true => Map::new(),
        false => json::read_object(bytes).map_err(|issue| ApiError::invalid(vec![issue]))?,
    };
    let read = Fields::read(values, Source::Body)?;
    match is_missing && !T::MAY_BE_MISSING {
        true => {
            let message = "The body is missing: send a JSON object, {} if there is nothing to say".to_owned();
            Err(ApiError::invalid(vec![Issue { path: Vec::new(), message, code: "invalid_type" }]))
        }
        false => Ok(read),
    }
}

/// The request's query was looked at.
#[derive(Clone, Copy, Debug)]
struct QueryIsRead;

/// A request's query string. What is there twice is refused, for it could not be told which is meant.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

impl<T: FromFields, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Query<T>, ApiError> {
        parts.extensions.insert(QueryIsRead);
        read_query(parts.uri.query().unwrap_or_default()).map(Query)
    }
}

fn read_query<T: FromFields>(query: &str) -> Result<T, ApiError> {
    let mut values = Map::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (Some(name), Some(value)) = (decode(name), decode(value)) else {
            let sentence = format!("The query parameter {name} is not valid percent-encoding of UTF-8");
            return Err(ApiError::new(StatusCode::BAD_REQUEST, sentence));
        };
        if values.contains_key(&*name) {
            let message = format!("{name} is given twice: say it once");
            let path = vec![name.into_owned()];
            return Err(ApiError::invalid(vec![Issue { path, message, code: "custom" }]));
        }
        values.insert(name.into_owned(), Value::String(value.into_owned()));
    }
    Fields::read(values, Source::Query)
}

fn parse_time(text: &str) -> Option<Timestamp> {
    let instant = text.parse::<jiff::Timestamp>().ok().or_else(|| date(text))?;
    Some(Timestamp(u64::try_from(instant.as_millisecond()).unwrap_or(0)))
}

/// The UTC midnight of a date.
fn date(text: &str) -> Option<jiff::Timestamp> {
    let is_date = text.len() == "2026-11-23".len();
    is_date.then(|| format!("{text}T00:00:00Z").parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dto::{BlockRequest, LoginChange, ThresholdRequest, UsersQuery};
    use axum::body::to_bytes;
    use axum::response::IntoResponse;
    use std::future::Future;
    use std::task::{Context, Poll, Waker};

    /// Checks what a body is read as, or else the issues as `path code: message`, in order.
    fn check<T: FromFields + std::fmt::Debug>(body: &str, expected: Result<&str, &[&str]>) {
        match (read_body::<T>(body.as_bytes()), expected) {
            (Ok(read), Ok(text)) => assert_eq!(format!("{read:?}"), text, "{body}"),
            (Err(error), Err(issues)) => assert_eq!(issues_of(error), issues, "{body}"),
            (read, _) => panic!("{body} was read as {read:?}"),
        }
    }

    fn issues_of(error: ApiError) -> Vec<String> {
        let body = std::pin::pin!(to_bytes(error.into_response().into_body(), usize::MAX))
            .poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(Ok(bytes)) = body else { panic!("a body in memory is ready") };
        let body: Value = serde_json::from_slice(&bytes).unwrap();
        let issues = body["error"].as_array().expect("issues are an array");
        let line = |issue: &Value| {
            let path = issue["path"].as_array().unwrap().first().map_or("", |name| name.as_str().unwrap());
            format!("{path} {}: {}", issue["code"].as_str().unwrap(), issue["message"].as_str().unwrap())
        };
        issues.iter().map(line).collect()
    }

    #[test]
    fn thresholds_are_numbers_from_zero() {
        let read = |cost: &str, tokens: &str, window: &str| {
            format!(
                "ThresholdRequest {{ max_cost_usd: {cost}, max_total_tokens: {tokens}, window: {window} }}"
            )
        };
        for (body, cost, tokens, window) in [
            (r#"{"maxCostUsd":0}"#, "Some(NanoUsd(0))", "None", "None"),
            (r#"{"maxCostUsd":0.0009}"#, "Some(NanoUsd(900000))", "None", "None"),
            (r#"{"maxTotalTokens":0}"#, "None", "Some(0)", "None"),
            (r#"{"maxTotalTokens":1e3,"window":"rolling_24h"}"#, "None", "Some(1000)", "Some(Rolling24h)"),
        ] {
            check::<ThresholdRequest>(body, Ok(&read(cost, tokens, window)));
        }
        let too_small = "too_small: Number must be greater than or equal to 0";
        for (body, issues) in [
            (
                r#"{"maxCostUsd":null}"#,
                vec!["maxCostUsd invalid_type: Expected number, received null".into()],
            ),
            (
                r#"{"maxCostUsd":"NaN"}"#,
                vec!["maxCostUsd invalid_type: Expected number, received string".into()],
            ),
            (r#"{"maxCostUsd":1e11}"#, vec!["maxCostUsd too_big: Number must be less than 9 billion".into()]),
            (
                r#"{"maxCostUsd":-0.01,"maxTotalTokens":-1}"#,
                vec![format!("maxCostUsd {too_small}"), format!("maxTotalTokens {too_small}")],
            ),
            (
                r#"{"maxTotalTokens":1.5}"#,
                vec!["maxTotalTokens invalid_type: Expected integer, received float".into()],
            ),
            (
                r#"{"maxTotalTokens":1e300}"#,
                vec!["maxTotalTokens too_big: Number must be less than or equal to 9007199254740991".into()],
            ),
            (
                r#"{"window":"hourly"}"#,
                vec![
                    "window invalid_enum_value: Invalid enum value. Expected \
                      'daily' | 'monthly' | 'rolling_24h' | 'total'"
                        .into(),
                ],
            ),
            ("[]", vec![" invalid_type: Expected object, received array".to_owned()]),
            ("", vec![format!(" too_small: {}", crate::dto::WHOLE_THRESHOLD)]),
            ("{}", vec![format!(" too_small: {}", crate::dto::WHOLE_THRESHOLD)]),
            (
                r#"{"maxCost":1,"windows":"daily"}"#,
                vec![
                    "maxCost unrecognized_keys: Unknown field \"maxCost\"; did you mean \"maxCostUsd\"?"
                        .into(),
                    "windows unrecognized_keys: Unknown field \"windows\"; did you mean \"window\"?".into(),
                ],
            ),
            (
                r#"{"maxTotalTokens":-1,"MaxCostUsd":1}"#,
                vec![
                    format!("maxTotalTokens {too_small}"),
                    "MaxCostUsd unrecognized_keys: Unknown field \"MaxCostUsd\"; did you mean \"maxCostUsd\"?"
                        .into(),
                ],
            ),
        ] {
            let issues: Vec<&str> = issues.iter().map(String::as_str).collect();
            check::<ThresholdRequest>(body, Err(&issues));
        }
    }

    #[test]
    fn a_block_expires_at_an_instant() {
        for (text, expected) in [
            ("2026-11-23T10:00:00Z", Some("2026-11-23T10:00:00.000Z")),
            ("2026-11-23T10:00:00.1239Z", Some("2026-11-23T10:00:00.123Z")),
            ("2026-11-23T10:00:00+02:00", Some("2026-11-23T08:00:00.000Z")),
            ("2026-11-23", Some("2026-11-23T00:00:00.000Z")),
            ("1960-01-01T00:00:00Z", Some("1970-01-01T00:00:00.000Z")),
            ("2026-11-23T10:00:00", None),
            ("2026-02-30", None),
            ("20261123", None),
            ("tomorrow", None),
            ("", None),
        ] {
            assert_eq!(parse_time(text).map(|time| time.to_string()).as_deref(), expected, "{text}");
        }
        check::<BlockRequest>(
            r#"{"reason":7,"expiresAt":"soon"}"#,
            Err(&[
                "reason invalid_type: Expected string, received number",
                "expiresAt invalid_string: Invalid datetime",
            ]),
        );
    }

    #[test]
    fn a_body_may_be_missing_where_nothing_is_made_or_replaced() {
        check::<BlockRequest>(" ", Ok("BlockRequest { reason: None, expires_at: None }"));
        check::<Nothing>("", Ok("Nothing"));
        check::<Nothing>("{}", Ok("Nothing"));
        check::<Nothing>(
            r#"{"force":true}"#,
            Err(&["force unrecognized_keys: Unknown field \"force\": none is known here"]),
        );
        check::<LoginChange>(
            "",
            Err(&[" invalid_type: The body is missing: send a JSON object, {} if there is nothing to say"]),
        );
    }

    #[test]
    fn what_a_query_says_is_said_once_known_and_readable() {
        let read = |query: &str| read_query::<UsersQuery>(query).map(|query| query.limit).map_err(issues_of);
        assert_eq!(read("limit=25&&search=a%20b"), Ok(Some(25)));
        let issues = |query: &str| read(query).unwrap_err().join(", ");
        assert_eq!(issues("limit=25&limit=26"), "limit custom: limit is given twice: say it once");
        assert_eq!(issues("limit=25&%6Cimit=26"), "limit custom: limit is given twice: say it once");
        let unknown = "limits unrecognized_keys: Unknown parameter \"limits\"; did you mean \"limit\"?";
        assert_eq!(issues("limits=25"), unknown);
        for query in ["search=%ff", "search=%", "search=%zz", "%=1"] {
            let refused = read_query::<UsersQuery>(query).unwrap_err().into_response();
            assert_eq!(refused.status(), 400, "{query}");
        }
    }

    #[test]
    fn numbers_in_a_query_are_text() {
        let read = |limit: &str| {
            let values = Map::from_iter([("limit".to_owned(), Value::from(limit))]);
            Fields::read::<UsersQuery>(values, Source::Query).map(|query| query.limit).map_err(issues_of)
        };
        assert_eq!(read("25"), Ok(Some(25)));
        for limit in ["", "many", "NaN", "-1", "0", "1e9"] {
            assert!(read(limit).is_err(), "{limit}");
        }
    }
}
