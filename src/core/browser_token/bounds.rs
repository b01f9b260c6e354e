//! What a token binds its sessions to: how that is said to the provider, and what of a page's events goes beyond it.
//!
//! A token's settings are the session's from its start. Its page may then change them as at the provider, but neither a model
//! that they name nor a bound of how much is said. Events are looked at whatever their type is, and each time that a name
//! stands there, for it is the provider who decides which of two counts.

use super::Opens;
use crate::doubt::{Keys, is_like};
use crate::json::{End, Fields, Value};
use serde_json::{Map, Value as Tree, json};

/// How much a response may say, in the words of all APIs.
const OUTPUT_BOUNDS: [&str; 3] = ["max_output_tokens", "max_response_output_tokens", "maxOutputTokens"];

/// What a page's events have to keep to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Where in the settings, and what stands there.
    rules: Vec<(Vec<String>, Must)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Must {
    Be(String),
    NotExceed(u64),
}

impl Bounds {
    /// Of a session's settings, as JSON.
    pub fn of(session: &str) -> Bounds {
        let mut rules = Vec::new();
        if let Ok(settings) = serde_json::from_str::<Map<String, Tree>>(session) {
            gather(&settings, &mut Vec::new(), &mut rules);
        }
        Bounds { rules }
    }

    /// # Errors
    /// What of a page's event goes beyond the bounds.
    pub fn check(&self, event: &[u8]) -> Result<(), String> {
        let mut fields = Fields::of(event);
        for field in fields.by_ref() {
            let key = field.key.decode();
            match () {
                () if is_like(&key, "session") => self.check_settings(field.value, &mut Vec::new())?,
                () if is_like(&key, "response") => self.check_response(field.value)?,
                // Of the one that there may be it was read before.
                () if is_like(&key, "setup") => return Err("it sets the session up again".into()),
                () => {}
            }
        }
        whole(fields.end())?;
        Keys::of(&["type"]).check(event).map_err(|doubt| doubt.to_string())
    }

    /// # Errors
    /// What of the settings that a provider tells, of a session or of a response that begins, goes beyond the bounds. Models it
    /// may call otherwise.
    pub fn check_stated(&self, event: &[u8]) -> Result<(), String> {
        let (mut name, mut session, mut response) = (None, None, None);
        for field in Fields::of(event) {
            match &*field.key.bytes() {
                b"type" => name = field.value.text(),
                b"session" => session = Some(field.value),
                b"response" => response = Some(field.value),
                _ => {}
            }
        }
        let is_told = |told: &str| name.is_some_and(|name| name.is(told));
        let is_bound = |(_, must): &&(Vec<String>, Must)| matches!(must, Must::NotExceed(_));
        let bounds = Bounds { rules: self.rules.iter().filter(is_bound).cloned().collect() };
        if let Some(settings) = session.filter(|_| is_told("session.updated")) {
            bounds.check_settings(settings, &mut Vec::new())?;
        }
        match response.filter(|_| is_told("response.created")) {
            Some(response) => bounds.check_response(response),
            None => Ok(()),
        }
    }

    fn check_settings(&self, value: Value<'_>, path: &mut Vec<String>) -> Result<(), String> {
        let Some(mut fields) = value.fields() else { return Ok(()) };
        for field in fields.by_ref() {
            path.push(String::from_utf8_lossy(&field.key.bytes()).into_owned());
            for (_, must) in self.rules.iter().filter(|(bound, _)| is_same(bound, path)) {
                must.check(field.value, path)?;
            }
            // No deeper than the token itself is.
            let leads_on =
                |bound: &[String]| bound.get(..path.len()).is_some_and(|start| is_same(start, path));
            if self.rules.iter().any(|(bound, _)| bound.len() > path.len() && leads_on(bound)) {
                self.check_settings(field.value, path)?;
            }
            path.pop();
        }
        whole(fields.end())
    }

    /// A response may say no more than the session.
    fn check_response(&self, value: Value<'_>) -> Result<(), String> {
        let Some(mut fields) = value.fields() else { return Ok(()) };
        for field in fields.by_ref() {
            let path = [String::from_utf8_lossy(&field.key.bytes()).into_owned()];
            for (_, must) in self.rules.iter().filter(|(bound, _)| is_same(bound, &path)) {
                must.check(field.value, &path)?;
            }
        }
        whole(fields.end())
    }
}

impl Must {
    fn check(&self, value: Value<'_>, path: &[String]) -> Result<(), String> {
        let keeps = match self {
            Must::Be(text) => value.text().is_some_and(|said| said.is(text)),
            Must::NotExceed(most) => {
                let said = std::str::from_utf8(match value {
                    Value::Plain(raw) => raw,
                    Value::Text(_) | Value::Object(_) | Value::Array(_) => b"",
                });
                said.ok().and_then(|said| said.parse::<u64>().ok()).is_some_and(|said| said <= *most)
            }
        };
        let must = match self {
            Must::Be(text) => format!("is {text}"),
            Must::NotExceed(most) => format!("is at most {most}"),
        };
        keeps.then_some(()).ok_or_else(|| format!("{} {must}", path.join(".")))
    }
}

fn gather(settings: &Map<String, Tree>, path: &mut Vec<String>, rules: &mut Vec<(Vec<String>, Must)>) {
    for (name, value) in settings {
        path.push(name.clone());
        match value {
            Tree::Object(inner) => gather(inner, path, rules),
            Tree::String(model) if name == "model" => rules.push((path.clone(), Must::Be(model.clone()))),
            Tree::Number(most) if OUTPUT_BOUNDS.contains(&&**name) => {
                rules.extend(most.as_u64().map(|most| (path.clone(), Must::NotExceed(most))));
            }
            _ => {}
        }
        path.pop();
    }
}

/// Whether two paths lead to one setting.
fn is_same(bound: &[String], said: &[String]) -> bool {
    let is_output = |name: &String| OUTPUT_BOUNDS.iter().any(|bound| is_like(bound, name));
    let same =
        |(bound, said): (&String, &String)| is_like(bound, said) || is_output(bound) && is_output(said);
    bound.len() == said.len() && bound.iter().zip(said).all(same)
}

/// What cannot be read to its end might be read otherwise elsewhere.
fn whole(end: Option<End>) -> Result<(), String> {
    match end {
        Some(End::Closed) => Ok(()),
        None | Some(End::Cut | End::Malformed) => Err("it is not whole JSON".into()),
    }
}

/// The event that gives a session its settings, where that is another than the page's first; `None` where they say no more
/// than its URL does.
pub fn prelude(opens: Opens, session: &str) -> Option<String> {
    let mut settings: Map<String, Tree> = serde_json::from_str(session).ok()?;
    settings.remove("model");
    let says_more = settings.keys().any(|name| name != "type");
    let kind = match opens {
        Opens::Live | Opens::Gemini => return None,
        // As in the beta, where there are no types.
        Opens::Transcription if !settings.contains_key("type") => "transcription_session.update",
        Opens::Realtime | Opens::Transcription | Opens::Translation => "session.update",
    };
    says_more.then(|| json!({"type": kind, "session": settings}).to_string())
}

/// A page's first event, which sets its session up, with a token's settings in the place of its own.
///
/// # Errors
/// What of the event is not as it has to be.
pub fn impose(event: &[u8], session: &str) -> Result<String, String> {
    let mut event: Map<String, Tree> = serde_json::from_slice(event).map_err(|_| "it is not whole JSON")?;
    let bound: Map<String, Tree> =
        serde_json::from_str(session).map_err(|_| "the token's settings are none")?;
    let root = event.iter_mut().find(|(name, _)| ["setup", "session"].contains(&&***name));
    let Some((_, Tree::Object(settings))) = root else { return Err("it does not set the session up".into()) };
    lay(settings, bound);
    Ok(Tree::Object(event).to_string())
}

fn lay(settings: &mut Map<String, Tree>, bound: Map<String, Tree>) {
    for (name, value) in bound {
        // Google reads a name in either spelling.
        settings.retain(|said, _| *said == name || camel(said) != camel(&name));
        match (settings.get_mut(&name), value) {
            (Some(Tree::Object(said)), Tree::Object(inner)) => lay(said, inner),
            (_, value) => drop(settings.insert(name, value)),
        }
    }
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (initial, rest) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
        name + &initial.to_uppercase() + rest
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_provider_tells_of_a_session_is_within_its_bounds_or_not() {
        let bounds = Bounds::of(SESSION);
        for (event, is_within) in [
            (r#"{"type":"session.updated","session":{"model":"m-2026","max_output_tokens":100}}"#, true),
            (r#"{"type":"session.updated","session":{"max_output_tokens":101}}"#, false),
            (r#"{"session":{"max_output_tokens":"inf"},"type":"session.updated"}"#, false),
            (r#"{"type":"response.created","response":{"max_output_tokens":100}}"#, true),
            (r#"{"type":"response.created","response":{"max_output_tokens":"inf"}}"#, false),
            (r#"{"type":"response.created","response":{"id":"r"}}"#, true),
            (r#"{"type":"response.done","session":{"max_output_tokens":101}}"#, true),
            (r#"{"type":"session.updated"}"#, true),
        ] {
            assert_eq!(bounds.check_stated(event.as_bytes()).is_ok(), is_within, "{event}");
        }
    }

    const SESSION: &str = r#"{"type":"realtime","model":"m","max_output_tokens":100,"instructions":"Be brief.",
        "audio":{"input":{"transcription":{"model":"t"}},"output":{"voice":"marin"}}}"#;

    #[test]
    fn a_page_changes_neither_a_model_nor_how_much_may_be_said() {
        let bounds = Bounds::of(SESSION);
        for (event, beyond) in [
            (r#"{"type":"session.update","session":{"model":"m","instructions":"Sing.","tools":[]}}"#, None),
            (r#"{"type":"session.update","session":{"audio":{"output":{"voice":"ash"}}}}"#, None),
            (r#"{"type":"session.update","session":{"max_output_tokens":100}}"#, None),
            (r#"{"type":"response.create"}"#, None),
            (r#"{"type":"response.create","response":{"max_output_tokens":7,"model":"m"}}"#, None),
            (r#"{"type":"input_audio_buffer.append","audio":"AAAA"}"#, None),
            (r#"{"type":"session.update","session":{"audio":{"input":{"transcription":null}}}}"#, None),
            (r#"{"type":"session.update","session":{"model":"n"}}"#, Some("model is m")),
            (r#"{"type":"session.update","session":{"model":"m","model":"n"}}"#, Some("model is m")),
            (r#"{"type":"session.update","session":{"model":null}}"#, Some("model is m")),
            (r#"{"session":{"m\u006fdel":"n"},"type":"session.update"}"#, Some("model is m")),
            (r#"{"session":{"model":"n"},"type":"session.update","session":{}}"#, Some("model is m")),
            (r#"{"Session":{"Model":"n"},"type":"session.update"}"#, Some("Model is m")),
            (r#"{"session":{"maxOutput_Tokens":101}}"#, Some("maxOutput_Tokens is at most 100")),
            (r#"{"type":"x","type":"response.create"}"#, Some("it has `type` twice: send it once")),
            (
                r#"{"type":"response.create"}{"type":"session.update"}"#,
                Some("it is not one JSON object in UTF-8: send nothing before or behind it"),
            ),
            (
                r#"{"type":"x","audio":"AA","type":"session.update","session":{"model":"n"}}"#,
                Some("model is m"),
            ),
            (
                r#"{"session":{"audio":{"input":{"transcription":{"model":"u"}}}}}"#,
                Some("audio.input.transcription.model is t"),
            ),
            (r#"{"session":{"max_output_tokens":101}}"#, Some("max_output_tokens is at most 100")),
            (r#"{"session":{"max_output_tokens":"inf"}}"#, Some("max_output_tokens is at most 100")),
            (r#"{"session":{"max_output_tokens":1e9}}"#, Some("max_output_tokens is at most 100")),
            (
                r#"{"session":{"max_response_output_tokens":101}}"#,
                Some("max_response_output_tokens is at most 100"),
            ),
            (r#"{"response":{"max_output_tokens":101}}"#, Some("max_output_tokens is at most 100")),
            (r#"{"response":{"model":"n"}}"#, Some("model is m")),
            (r#"{"setup":{}}"#, Some("it sets the session up again")),
            (r#"{"type":"session.update","session":{"model":"m""#, Some("it is not whole JSON")),
            (r#"{"type":"session.update","session":{"x" "model":"n"}}"#, Some("it is not whole JSON")),
            ("hello", Some("it is not whole JSON")),
        ] {
            assert_eq!(bounds.check(event.as_bytes()).err().as_deref(), beyond, "{event}");
        }
        for free in ["{}", "[]", "{\"type\":\"realtime\"}"] {
            assert_eq!(Bounds::of(free).check(br#"{"session":{"model":"n","max_output_tokens":9}}"#), Ok(()));
        }
    }

    #[test]
    fn a_session_is_told_its_settings_where_its_url_does_not_say_them() {
        for (opens, session, event) in [
            (Opens::Realtime, r#"{"type":"realtime","model":"m"}"#, None),
            (
                Opens::Realtime,
                r#"{"type":"realtime","model":"m","instructions":"x"}"#,
                Some(r#"{"session":{"instructions":"x","type":"realtime"},"type":"session.update"}"#),
            ),
            (
                Opens::Transcription,
                r#"{"input_audio_format":"pcm16"}"#,
                Some(r#"{"session":{"input_audio_format":"pcm16"},"type":"transcription_session.update"}"#),
            ),
            (Opens::Gemini, r#"{"temperature":1}"#, None),
        ] {
            assert_eq!(prelude(opens, session).as_deref(), event);
        }
    }

    #[test]
    fn a_first_event_says_what_the_token_says_in_either_spelling() {
        let bound = r#"{"generationConfig":{"maxOutputTokens":9,"responseModalities":["AUDIO"]},"systemInstruction":{"parts":[]}}"#;
        let said = br#"{"setup":{"model":"models/g","generation_config":{"temperature":2},"system_instruction":"x","sessionResumption":{"handle":"h"}}}"#;
        let laid: Tree = serde_json::from_str(&impose(said, bound).unwrap()).unwrap();
        assert_eq!(
            laid,
            json!({"setup": {"model": "models/g", "sessionResumption": {"handle": "h"}, "systemInstruction": {"parts": []},
                "generationConfig": {"maxOutputTokens": 9, "responseModalities": ["AUDIO"]}}})
        );
        let said =
            br#"{"setup":{"model":"models/g","generationConfig":{"temperature":2,"max_output_tokens":99}}}"#;
        let laid: Tree = serde_json::from_str(&impose(said, bound).unwrap()).unwrap();
        let wanted = json!({"temperature": 2, "maxOutputTokens": 9, "responseModalities": ["AUDIO"]});
        assert_eq!(laid["setup"]["generationConfig"], wanted);
        for wrong in ["{}", "[]", r#"{"setup":1}"#] {
            assert!(impose(wrong.as_bytes(), bound).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn another_model_is_found_wherever_it_stands(
            before in "[ \t\n]{0,2}(\"[a-z]{1,3}\":(1|\"x\"|\\{\\}|\\[1,2\\]),){0,3}",
            escaped: bool,
            model in "[a-z]{1,5}",
        ) {
            let name = if escaped { "\\u006dodel" } else { "model" };
            let event = format!("{{{before}\"session\":{{{before}\"{name}\":\"{model}\"}}}}");
            prop_assert_eq!(Bounds::of(SESSION).check(event.as_bytes()).is_ok(), model == "m", "{}", event);
        }

        #[test]
        fn no_bytes_make_it_fail(event: Vec<u8>, settings: String) {
            drop((Bounds::of(&settings).check(&event), impose(&event, &settings), prelude(Opens::Realtime, &settings)));
        }
    }
}
