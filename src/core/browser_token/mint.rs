//! The requests by which applications ask for a token for a page, as each provider's SDKs word them, and their answers.
//!
//! Start at [`Form::of`]. A field `uses` beside a request's own says how many sessions the token opens, also where the
//! provider has no such word.

use super::{Claims, GOOGLE_PREFIX, LIFE_SECONDS_MAX, Opens};
use crate::id::Model;
use crate::time::{SECOND_MS, Timestamp};
use serde_json::{Map, Value, json};

/// The longest settings that a token is bound to, as JSON: it has to fit into a head.
const SESSION_BYTES_MAX: usize = 4_096;
const LIFE_SECONDS_MIN: u64 = 10;
/// What OpenAI's tokens live where nobody says so; those of its beta; and Google's, until their sessions have to have begun
/// and to have ended.
const LIFE_SECONDS: u64 = 600;
const BETA_LIFE_SECONDS: u64 = 60;
const GOOGLE_START_SECONDS: u64 = 60;
const GOOGLE_LIFE_SECONDS: u64 = 1_800;

/// How a token is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `client_secrets` of OpenAI and of what is like it.
    Secret(Opens),
    /// `realtime/sessions` and `realtime/transcription_sessions` of OpenAI's beta.
    Beta(Opens),
    /// Google's `auth_tokens`.
    Google,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    pub opens: Opens,
    pub model: Option<String>,
    /// A JSON object.
    pub session: Option<String>,
    pub starts_until: Timestamp,
    pub ends_at: Option<Timestamp>,
    pub uses: Option<u32>,
}

/// What a request says that no token can be, in a sentence, with the field that says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub field: &'static str,
    pub why: String,
}

impl Form {
    /// `None`: the request does not ask for a token.
    pub fn of(method: &str, path: &str) -> Option<Form> {
        let path = path.trim_end_matches('/');
        let forms = [
            ("/realtime/client_secrets", Form::Secret(Opens::Realtime)),
            ("/realtime/translations/client_secrets", Form::Secret(Opens::Translation)),
            ("/live/client_secrets", Form::Secret(Opens::Live)),
            ("/realtime/sessions", Form::Beta(Opens::Realtime)),
            ("/realtime/transcription_sessions", Form::Beta(Opens::Transcription)),
            ("/auth_tokens", Form::Google),
        ];
        let asked = forms.into_iter().find(|(end, _)| path.ends_with(end)).filter(|_| method == "POST");
        asked.map(|(_, form)| form)
    }

    /// What the request's body asks for.
    pub fn read(self, body: &[u8], now: Timestamp) -> Result<Wish, Wrong> {
        let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
        let mut body: Map<String, Value> = serde_json::from_slice(body)
            .map_err(|error| wrong("body", format!("the body is no JSON object: {error}")))?;
        let uses = uses(body.remove("uses").or_else(|| body.remove("Uses")))?;
        match self {
            Form::Secret(opens) => {
                let life = life(body.get("expires_after"), LIFE_SECONDS)?;
                let session = body.remove("session");
                wish(opens, object("session", session)?, uses.flatten(), now.plus_ms(life))
            }
            Form::Beta(opens) => {
                let secret = object("client_secret", body.remove("client_secret"))?.unwrap_or_default();
                let life = life(secret.get("expires_after").or(secret.get("expires_at")), BETA_LIFE_SECONDS)?;
                wish(opens, Some(body), uses.flatten(), now.plus_ms(life))
            }
            Form::Google => {
                let setup = body
                    .remove("bidiGenerateContentSetup")
                    .or_else(|| body.remove("bidi_generate_content_setup"));
                let starts_until = until(
                    &body,
                    "newSessionExpireTime",
                    "new_session_expire_time",
                    now,
                    GOOGLE_START_SECONDS,
                )?;
                let ends_at = until(&body, "expireTime", "expire_time", now, GOOGLE_LIFE_SECONDS)?;
                let session = object("bidiGenerateContentSetup", setup)?;
                // Google's tokens open one session unless they say otherwise, and any number for 0.
                let uses = uses.unwrap_or(Some(1));
                Ok(Wish {
                    ends_at: Some(ends_at),
                    ..wish(Opens::Gemini, session, uses, starts_until.min(ends_at))?
                })
            }
        }
    }

    /// The answer in which the token is given.
    pub fn answer(self, token: &str, claims: &Claims) -> Value {
        let mut session: Map<String, Value> = claims
            .session
            .as_deref()
            .and_then(|session| serde_json::from_str(session).ok())
            .unwrap_or_default();
        let expires_at = claims.starts_until.0 / SECOND_MS;
        if self != Form::Google {
            session.insert("id".into(), json!(format!("sess_{}", claims.id)));
            session.insert("object".into(), json!(object_of(claims.opens)));
            session.insert("expires_at".into(), json!(expires_at));
        }
        match self {
            Form::Secret(_) => {
                json!({"value": token, "expires_at": expires_at, "session": session, "token_id": claims.id})
            }
            Form::Beta(_) => {
                session.insert("client_secret".into(), json!({"value": token, "expires_at": expires_at}));
                session.insert("token_id".into(), json!(claims.id));
                Value::Object(session)
            }
            Form::Google => json!({
                "name": format!("{GOOGLE_PREFIX}{token}"),
                "newSessionExpireTime": claims.starts_until.to_string(),
                "expireTime": claims.last_moment().to_string(),
                "uses": claims.uses.unwrap_or(0),
                "tokenId": claims.id,
            }),
        }
    }

    /// The body of a refusal, with its status.
    pub fn refusal(self, status: u16, code: &str, param: Option<&str>, message: &str) -> Value {
        match self {
            Form::Google => {
                let words = if status == 400 { "INVALID_ARGUMENT" } else { "PERMISSION_DENIED" };
                json!({"error": {"code": status, "message": message, "status": words}})
            }
            Form::Secret(_) | Form::Beta(_) => {
                json!({"error": {"type": "invalid_request_error", "code": code, "message": message, "param": param}})
            }
        }
    }
}

fn wish(
    opens: Opens,
    session: Option<Map<String, Value>>,
    uses: Option<u32>,
    starts_until: Timestamp,
) -> Result<Wish, Wrong> {
    let Some(mut session) = session else {
        return Ok(Wish { opens, model: None, session: None, starts_until, ends_at: None, uses });
    };
    let opens = match session.get("type").and_then(Value::as_str) {
        Some("transcription") if opens == Opens::Realtime => Opens::Transcription,
        _ => opens,
    };
    let model = match session.get("model") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => Some(name.as_str()),
        Some(_) => return Err(wrong("session.model", "a model's name is a text".into())),
    };
    // Google names a model by a path.
    let model = model.map(|name| name.rsplit_once("models/").map_or(name, |(_, name)| name).to_owned());
    if model.as_ref().is_some_and(|name| Model::parse(name.as_bytes()).is_err()) {
        return Err(wrong("session.model", "this is no model's name".into()));
    }
    session.retain(|_, value| !value.is_null());
    let session = Value::Object(session).to_string();
    if session.len() > SESSION_BYTES_MAX {
        let why = format!(
            "a token is bound to {SESSION_BYTES_MAX} bytes of settings at most, and these are {}; let the page or a tool \
             of yours say the rest",
            session.len()
        );
        return Err(wrong("session", why));
    }
    Ok(Wish {
        opens,
        model,
        session: Some(session).filter(|session| session != "{}"),
        starts_until,
        ends_at: None,
        uses,
    })
}

fn object(field: &'static str, value: Option<Value>) -> Result<Option<Map<String, Value>>, Wrong> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(wrong(field, format!("{field} is an object"))),
    }
}

/// `Some(None)`: as many as may be.
fn uses(value: Option<Value>) -> Result<Option<Option<u32>>, Wrong> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(None) };
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    let number =
        number.ok_or_else(|| wrong("uses", "uses is a whole number; 0 is without a bound".into()))?;
    Ok(Some(Some(number).filter(|number| *number > 0)))
}

/// Milliseconds.
fn life(expiry: Option<&Value>, otherwise: u64) -> Result<u64, Wrong> {
    let seconds = expiry.and_then(|expiry| expiry.get("seconds")).filter(|seconds| !seconds.is_null());
    let seconds = seconds.map_or(Some(otherwise), Value::as_u64);
    let allowed = seconds.filter(|seconds| (LIFE_SECONDS_MIN..=LIFE_SECONDS_MAX).contains(seconds));
    let why = || format!("a token lives {LIFE_SECONDS_MIN} to {LIFE_SECONDS_MAX} seconds");
    allowed.map(|seconds| seconds * SECOND_MS).ok_or_else(|| wrong("expires_after.seconds", why()))
}

fn until(
    body: &Map<String, Value>,
    name: &'static str,
    other_name: &str,
    now: Timestamp,
    otherwise: u64,
) -> Result<Timestamp, Wrong> {
    let Some(value) = body.get(name).or(body.get(other_name)).filter(|value| !value.is_null()) else {
        return Ok(now.plus_ms(otherwise * SECOND_MS));
    };
    let at = value.as_str().and_then(Timestamp::parse);
    let at = at.ok_or_else(|| wrong(name, format!("{name} is a time such as {now}")))?;
    let why = format!("{name} lies between now and {LIFE_SECONDS_MAX} seconds from now");
    let is_near = at > now && at.since(now) <= LIFE_SECONDS_MAX * SECOND_MS;
    is_near.then_some(at).ok_or_else(|| wrong(name, why))
}

fn object_of(opens: Opens) -> &'static str {
    match opens {
        Opens::Realtime | Opens::Gemini => "realtime.session",
        Opens::Transcription => "realtime.transcription_session",
        Opens::Translation => "realtime.translation_session",
        Opens::Live => "live.session",
    }
}

fn wrong(field: &'static str, why: String) -> Wrong {
    Wrong { field, why }
}
