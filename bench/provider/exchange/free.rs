//! What costs nothing: which models there are, and how many tokens something has.

use super::key;
use crate::http::{Request, json_response};
use crate::provider::Shard;
use crate::provider::handshake;
use crate::provider::openai::OpenAi;
use crate::provider::refusal::{Credential, Refusal};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tokenist_core::price::PriceTable;

/// In whose words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Words {
    OpenAi,
    Google,
    Anthropic,
}

#[derive(Debug, PartialEq, Eq)]
enum Free<'a> {
    Models(Words),
    Model(Words, &'a str),
    Count(Words),
}

/// The whole response; `None` if something else is asked for.
pub(in crate::provider) fn answer(shard: &Shard, request: &Request, body: &[u8]) -> Option<Vec<u8>> {
    let asked = Free::of(request)?;
    shard.audit().handshake(request);
    let told = match handshake::credential(shard, key(request)) {
        Credential::Right => asked.told(body),
        Credential::Wrong | Credential::Missing => {
            Err(Refusal::new(401, "invalid_api_key", "Incorrect API key provided."))
        }
    };
    Some(match told {
        Ok(told) => json_response(200, &[], &told.to_string()),
        Err(refusal) => handshake::refuse::<OpenAi>(&refusal),
    })
}

impl Free<'_> {
    fn of(request: &Request) -> Option<Free<'_>> {
        let path = request.path.trim_end_matches('/');
        let (before, last) = path.rsplit_once('/')?;
        let words = Words::of(request);
        match (&*request.method, last) {
            ("GET", "models") => Some(Free::Models(words)),
            ("GET", model) if before.ends_with("/models") => Some(Free::Model(words, model)),
            ("POST", "count_tokens") if before.ends_with("/messages") => Some(Free::Count(Words::Anthropic)),
            ("POST", "input_tokens") if before.ends_with("/responses") => Some(Free::Count(Words::OpenAi)),
            ("POST", method) if method.ends_with(":countTokens") => Some(Free::Count(Words::Google)),
            _ => None,
        }
    }

    fn told(&self, body: &[u8]) -> Result<Value, Refusal> {
        match *self {
            Free::Models(words) => Ok(words.list(&words.models())),
            Free::Model(words, name) => {
                let models = words.models();
                let nothing = || Refusal::new(404, "model_not_found", "There is no such model.");
                models.get(name).map(|name| words.model(name)).ok_or_else(nothing)
            }
            Free::Count(words) => {
                let asked: Value = serde_json::from_slice(body)
                    .map_err(|error| Refusal::new(400, "invalid_body", &format!("No JSON: {error}")))?;
                Ok(words.count(text_bytes(&asked).div_ceil(4)))
            }
        }
    }
}

impl Words {
    /// Google's versions are its own, and Anthropic has each request name one in a header.
    fn of(request: &Request) -> Words {
        let is_google = request.path.contains("/v1beta") || request.header("x-goog-api-key").is_some();
        match request.header("anthropic-version") {
            Some(_) => Words::Anthropic,
            None if is_google => Words::Google,
            None => Words::OpenAi,
        }
    }

    /// Those that its price list names.
    fn models(self) -> BTreeSet<String> {
        let provider = match self {
            Words::OpenAi => "openai",
            Words::Google => "google",
            Words::Anthropic => "anthropic",
        };
        let prices = PriceTable::builtin();
        let own = prices.rows().iter().filter(|row| row.listing.provider.as_deref() == Some(provider));
        own.map(|row| row.listing.model.to_string()).filter(|model| !model.contains('*')).collect()
    }

    fn model(self, name: &str) -> Value {
        match self {
            Words::OpenAi => {
                json!({"id": name, "object": "model", "created": 1_796_000_000, "owned_by": "openai"})
            }
            Words::Google => json!({"name": format!("models/{name}"), "version": "001", "displayName": name,
                "inputTokenLimit": 1_048_576, "outputTokenLimit": 65_536,
                "supportedGenerationMethods": ["generateContent", "countTokens"]}),
            Words::Anthropic => json!({"type": "model", "id": name, "display_name": name,
                "created_at": "2026-11-01T00:00:00Z"}),
        }
    }

    fn list(self, names: &BTreeSet<String>) -> Value {
        let models: Vec<Value> = names.iter().map(|name| self.model(name)).collect();
        match self {
            Words::OpenAi => json!({"object": "list", "data": models}),
            Words::Google => json!({"models": models}),
            Words::Anthropic => json!({"data": models, "has_more": false, "first_id": names.first(),
                "last_id": names.last()}),
        }
    }

    fn count(self, tokens: u64) -> Value {
        match self {
            Words::OpenAi => json!({"object": "response.input_tokens", "input_tokens": tokens}),
            Words::Google => json!({"totalTokens": tokens,
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": tokens}]}),
            Words::Anthropic => json!({"input_tokens": tokens}),
        }
    }
}

/// Of all that is said, whatever it stands in; what merely names something is not.
fn text_bytes(value: &Value) -> u64 {
    const NAMES: [&str; 4] = ["model", "role", "type", "metadata"];
    match value {
        Value::String(text) => text.len() as u64,
        Value::Array(values) => values.iter().map(text_bytes).sum(),
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, _)| !NAMES.contains(&name.as_str()))
            .map(|(_, value)| text_bytes(value))
            .sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: &str, path: &str, header: &str) -> Request {
        let headers = vec![(header.to_owned(), "x".to_owned())];
        Request { method: method.into(), path: path.into(), headers, ..Request::default() }
    }

    #[test]
    fn each_provider_lists_and_counts_in_its_own_words() {
        for (method, path, header, places) in [
            ("GET", "/v1/models", "authorization", ["/object", "/data/0/id"]),
            ("GET", "/v1/models", "anthropic-version", ["/first_id", "/data/0/display_name"]),
            ("GET", "/v1beta/models", "authorization", ["/models/0/name", "/models/0/inputTokenLimit"]),
            ("GET", "/v1/models", "x-goog-api-key", ["/models/0/name", "/models/0/version"]),
            ("GET", "/v1/models/gpt-4o", "authorization", ["/id", "/owned_by"]),
            ("POST", "/v1/responses/input_tokens", "authorization", ["/object", "/input_tokens"]),
            ("POST", "/v1/messages/count_tokens", "x-api-key", ["/input_tokens", "/input_tokens"]),
            ("POST", "/v1/models/m:countTokens", "x", ["/totalTokens", "/promptTokensDetails/0/tokenCount"]),
        ] {
            let request = of(method, path, header);
            let told = Free::of(&request).and_then(|free| free.told(b"{}").ok()).expect(path);
            assert!(places.iter().all(|place| told.pointer(place).is_some()), "{path} {header}: {told}");
        }
        assert_eq!(Free::of(&of("POST", "/v1/messages", "x-api-key")), None);
        let asked = json!({"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "12345"}]}]});
        assert_eq!(Words::Anthropic.count(text_bytes(&asked).div_ceil(4)), json!({"input_tokens": 2}));
    }
}
