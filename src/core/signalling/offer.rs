//! What a request for a call says: an offer in SDP, and what its session is to be set to.
//!
//! Start at [`read`]. Invariant: of what decides (the model) no other reader could find something else in what goes on.

use super::Doing;
use crate::api::Multipart;
use crate::browser_token;
use crate::dialect::{self, Calls, ProviderEvent, Settings};
use crate::doubt::Keys;
use crate::id::Model;
use crate::json::{Fields, Text, Value};
use crate::meter::Models;
use std::borrow::Cow;
use std::fmt;

/// The longest body: a session's instructions and tools may be in it.
pub const BODY_BYTES_MAX: u64 = 256 << 10;
/// The longest offer. Browsers write five to ten KiB.
pub const SDP_BYTES_MAX: u64 = 32 << 10;

/// What is asked for.
#[derive(Clone, PartialEq, Eq)]
pub struct Offer {
    form: Form,
    sdp: Vec<u8>,
    /// A JSON object; `None` where nothing is said of the session.
    session: Option<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    /// SDP alone.
    Sdp,
    /// A form with both.
    Parts,
    /// One object with both.
    Json(Vec<u8>),
    /// The session's settings alone.
    Settings,
}

/// Why it goes to no provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    Malformed(String),
    TooLong { max_bytes: u64 },
}

/// An offer as it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    pub content_type: String,
    pub body: Vec<u8>,
}

/// Reads a request's body.
///
/// # Errors
/// It is none that begins a call, or could be read in two ways.
pub fn read(doing: &Doing, calls: Calls, content_type: Option<&str>, body: &[u8]) -> Result<Offer, Wrong> {
    let kind = content_type.unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let offer = match (doing, calls, &*kind) {
        (Doing::Accept(_) | Doing::Steer(_), ..) => settings(body),
        (Doing::Offer, Calls::Live, "application/json") => object(body),
        (Doing::Offer, Calls::Live, _) => Err(malformed("send a JSON object with `session` and `transport`")),
        (Doing::Offer, Calls::Realtime, "application/sdp") => {
            Ok(Offer { form: Form::Sdp, sdp: body.to_vec(), session: None })
        }
        (Doing::Offer, Calls::Realtime, "multipart/form-data") => {
            parts(content_type.unwrap_or_default(), body)
        }
        (Doing::Offer, Calls::Realtime, _) => {
            Err(malformed("send the offer as application/sdp, or as a form with `sdp` and `session`"))
        }
    }?;
    if offer.sdp.len() as u64 > SDP_BYTES_MAX {
        return Err(Wrong::TooLong { max_bytes: SDP_BYTES_MAX });
    }
    match offer.form == Form::Settings || offer.sdp.starts_with(b"v=0") {
        true => Ok(offer),
        false => Err(malformed("its offer is no SDP: that begins with v=0")),
    }
}

fn malformed(why: &str) -> Wrong {
    Wrong::Malformed(why.to_owned())
}

/// Of two fields, in whatever order.
fn parts(content_type: &str, body: &[u8]) -> Result<Offer, Wrong> {
    let fields = Multipart::whole(content_type, body).map_err(malformed)?;
    let (mut sdp, mut session) = (None, None);
    for (name, value) in fields {
        let place = match &*name {
            "sdp" => &mut sdp,
            "session" => &mut session,
            _ => return Err(Wrong::Malformed(format!("a call's form has no part {name:?}"))),
        };
        if place.replace(value).is_some() {
            return Err(Wrong::Malformed(format!("the form has `{name}` twice: send it once")));
        }
    }
    let sdp = sdp.ok_or_else(|| malformed("the form has no part `sdp`"))?;
    Ok(Offer { form: Form::Parts, sdp, session })
}

fn object(body: &[u8]) -> Result<Offer, Wrong> {
    let keys = Keys::of(&["session.type", "session.model", "transport.type", "transport.sdp"]);
    keys.check(body).map_err(|doubt| Wrong::Malformed(doubt.to_string()))?;
    let (mut sdp, mut session) = (None, None);
    for field in Fields::of(body) {
        match (&*field.key.bytes(), field.value) {
            (b"session", Value::Object(raw)) => session = Some(raw.to_vec()),
            (b"transport", Value::Object(raw)) => {
                let field = Fields::of(raw).find(|field| field.key.is("sdp"));
                sdp = field.and_then(|field| Some(field.value.text()?.decode().into_owned().into_bytes()));
            }
            _ => {}
        }
    }
    let sdp = sdp.ok_or_else(|| malformed("its `transport` has no `sdp`"))?;
    Ok(Offer { form: Form::Json(body.to_vec()), sdp, session })
}

/// The settings of a call that is accepted: the body itself, or its field `session`.
fn settings(body: &[u8]) -> Result<Offer, Wrong> {
    Keys::of(&["session.model"]).check(body).map_err(|doubt| Wrong::Malformed(doubt.to_string()))?;
    let within = Fields::of(body).find(|field| field.key.is("session"));
    let session = match within.map(|field| field.value) {
        Some(Value::Object(raw)) => raw,
        _ => body,
    };
    Ok(Offer { form: Form::Settings, sdp: Vec::new(), session: Some(session.to_vec()) })
}

impl Offer {
    /// The models that it names.
    ///
    /// # Errors
    /// Readers could take two for it, or one of them is no name.
    pub fn models(&self) -> Result<Models, Wrong> {
        let Some(session) = &self.session else { return Ok(Models::default()) };
        let keys = ["type", "model", "audio.input.transcription.model", "input_audio_transcription.model"];
        Keys::of(&keys).check(session).map_err(|doubt| Wrong::Malformed(doubt.to_string()))?;
        let event = told(session);
        let mut models = Ok(Models::default());
        dialect::usual().read(&event, &mut |event| {
            let ProviderEvent::Session(settings) = event else { return };
            let Settings { model, transcription_model, only_transcribes, .. } = *settings;
            let model = if only_transcribes == Some(true) { None } else { model };
            models = named(model)
                .and_then(|session| Ok(Models { session, transcription: named(transcription_model)? }));
        });
        models
    }

    /// How a provider would tell what the session is set to.
    pub fn told(&self) -> Option<Vec<u8>> {
        self.session.as_deref().map(told)
    }

    /// The same with a token's settings laid over its own, and with its model where nothing else names that. A form that has to
    /// be written for it ends its parts with `boundary`, which stands in none of them.
    ///
    /// # Errors
    /// What of it is not as it has to be.
    pub fn bind(&mut self, settings: &str, boundary: &str) -> Result<Bound, Wrong> {
        let within = |session: &[u8]| [b"{\"session\":", session, b"}"].concat();
        let own = self.session.as_deref().unwrap_or(b"{}");
        let laid = |event: &[u8]| browser_token::impose(event, settings).map_err(Wrong::Malformed);
        let session = laid(&within(own))?;
        let session = Fields::of(session.as_bytes()).find_map(|field| match field.value {
            Value::Object(raw) if field.key.is("session") => Some(raw.to_vec()),
            _ => None,
        });
        self.form = match &self.form {
            Form::Json(body) => Form::Json(laid(body)?.into_bytes()),
            Form::Settings => Form::Settings,
            Form::Sdp | Form::Parts => Form::Parts,
        };
        self.session = Some(session.unwrap_or_else(|| b"{}".to_vec()));
        Ok(self.body(boundary))
    }

    /// The same with another description in place of its own.
    pub fn carry(&mut self, sdp: &str, boundary: &str) -> Bound {
        if let Form::Json(body) = &mut self.form
            && let Some(other) = with_sdp(body, sdp)
        {
            *body = other;
        }
        self.sdp = sdp.as_bytes().to_vec();
        self.body(boundary)
    }

    /// What is offered, in SDP.
    pub fn sdp(&self) -> &[u8] {
        &self.sdp
    }

    /// As it goes on.
    fn body(&self, boundary: &str) -> Bound {
        let (kind, body) = match &self.form {
            Form::Json(body) => ("application/json", body.clone()),
            Form::Settings => ("application/json", self.session.clone().unwrap_or_default()),
            Form::Sdp => ("application/sdp", self.sdp.clone()),
            Form::Parts => return self.form_of(boundary),
        };
        Bound { content_type: kind.into(), body }
    }

    fn form_of(&self, boundary: &str) -> Bound {
        let mut body = Vec::new();
        let session = self.session.as_ref().map(|session| ("session", "application/json", &**session));
        for (name, kind, value) in [("sdp", "application/sdp", &*self.sdp)].into_iter().chain(session) {
            let head = format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\nContent-Type: {kind}\r\n\r\n"
            );
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(value);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        Bound { content_type: format!("multipart/form-data; boundary={boundary}"), body }
    }
}

/// The description in an answer that begins a call.
pub fn answered(calls: Calls, body: &[u8]) -> Option<Cow<'_, [u8]>> {
    match calls {
        Calls::Realtime => Some(Cow::Borrowed(body)),
        Calls::Live => Some(Cow::Owned(sdp_in(body)?.decode().into_owned().into_bytes())),
    }
}

/// An answer with another description in place of its own.
pub fn answer_with(calls: Calls, body: &[u8], sdp: &str) -> Option<Vec<u8>> {
    match calls {
        Calls::Realtime => Some(sdp.as_bytes().to_vec()),
        Calls::Live => with_sdp(body, sdp),
    }
}

/// The text `transport.sdp` of an object.
fn sdp_in(body: &[u8]) -> Option<Text<'_>> {
    let transport = Fields::of(body).filter(|field| field.key.is("transport")).last()?.value.fields()?;
    transport.filter(|field| field.key.is("sdp")).last()?.value.text()
}

/// An object with another text in place of its `transport.sdp`.
fn with_sdp(body: &[u8], sdp: &str) -> Option<Vec<u8>> {
    let own = sdp_in(body)?.raw;
    let at = own.as_ptr() as usize - body.as_ptr() as usize;
    let quoted = serde_json::to_string(sdp).ok()?;
    let text = &quoted.as_bytes()[1..quoted.len() - 1];
    Some([&body[..at], text, &body[at + own.len()..]].concat())
}

/// A model's name, if one is said.
fn named(name: Option<Cow<'_, str>>) -> Result<Option<Model>, Wrong> {
    let parsed = name.map(|name| Model::parse(name.as_bytes())).transpose();
    parsed.map_err(|_| malformed("what its session calls a model is no model's name"))
}

/// An event that tells these settings.
fn told(session: &[u8]) -> Vec<u8> {
    [b"{\"type\":\"session.updated\",\"session\":", session, b"}"].concat()
}

/// Neither an offer nor settings are for anybody to see.
impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Offer({} bytes of SDP)", self.sdp.len())
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Malformed(why) => f.write_str(why),
            Wrong::TooLong { max_bytes } => write!(f, "it is longer than {max_bytes} bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDP: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\n";

    fn form(parts: &[(&str, &str)]) -> String {
        let part = |(name, value): &(&str, &str)| {
            format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        parts.iter().map(part).collect::<String>() + "--b--\r\n"
    }

    /// The models that are named, or what is wrong.
    fn models(calls: Calls, kind: &str, body: &str) -> Result<[Option<String>; 2], String> {
        let offer = read(&Doing::Offer, calls, Some(kind), body.as_bytes());
        let models = offer.and_then(|offer| offer.models()).map_err(|wrong| wrong.to_string())?;
        Ok([models.session, models.transcription].map(|name| name.map(|name| name.to_string())))
    }

    const FORM: &str = "multipart/form-data; boundary=b";

    #[test]
    fn an_offer_comes_alone_in_a_form_or_in_json() {
        let session = r#"{"type":"realtime","model":"m","audio":{"input":{"transcription":{"model":"t"}}}}"#;
        let writes = r#"{"type":"transcription","audio":{"input":{"transcription":{"model":"t"}}}}"#;
        let names = |session: &str, transcription: &str| {
            Ok([session, transcription].map(|name| (!name.is_empty()).then(|| name.to_owned())))
        };
        let live = format!(
            r#"{{"session":{{"model":"gpt-live-1"}},"transport":{{"type":"webrtc","sdp":{SDP:?}}}}}"#
        );
        for (calls, kind, body, wanted) in [
            (Calls::Realtime, "application/sdp", SDP.to_owned(), names("", "")),
            (Calls::Realtime, "Application/SDP; charset=utf-8", SDP.to_owned(), names("", "")),
            (Calls::Realtime, FORM, form(&[("sdp", SDP), ("session", session)]), names("m", "t")),
            (Calls::Realtime, FORM, form(&[("session", writes), ("sdp", SDP)]), names("", "t")),
            (Calls::Realtime, FORM, form(&[("sdp", SDP)]), names("", "")),
            (Calls::Live, "application/json", live, names("gpt-live-1", "")),
        ] {
            assert_eq!(models(calls, kind, &body), wanted, "{kind} {body}");
        }
        let accept = Doing::Accept("rtc_1".into());
        for body in [session.to_owned(), format!(r#"{{"session":{session}}}"#)] {
            let offer = read(&accept, Calls::Realtime, Some("application/json"), body.as_bytes()).unwrap();
            assert_eq!(offer.models().unwrap().session, Some(Model::from("m")));
        }
    }

    #[test]
    fn what_is_no_offer_or_could_be_two_is_refused() {
        let twice = form(&[("sdp", SDP), ("sdp", SDP)]);
        let two = form(&[("sdp", SDP), ("session", r#"{"model":"a","model":"b"}"#)]);
        let live = |body: &str| (Calls::Live, "application/json", body.to_owned());
        for ((calls, kind, body), wanted) in [
            ((Calls::Realtime, "application/sdp", "hello".to_owned()), "its offer is no SDP"),
            ((Calls::Realtime, "application/json", "{}".to_owned()), "send the offer as application/sdp"),
            ((Calls::Realtime, "", SDP.to_owned()), "send the offer as application/sdp"),
            ((Calls::Realtime, FORM, twice), "the form has `sdp` twice"),
            ((Calls::Realtime, FORM, two), "it has `model` twice"),
            ((Calls::Realtime, FORM, form(&[("session", "{}")])), "the form has no part `sdp`"),
            ((Calls::Realtime, FORM, form(&[("sdp", SDP), ("x", "")])), "a call's form has no part \"x\""),
            ((Calls::Realtime, FORM, "--b\r\n".to_owned()), "the form has no end"),
            (live("{}"), "its `transport` has no `sdp`"),
            (live(r#"{"session":{"model":"a"},"session":{"model":"b"}}"#), "it has `session"),
            ((Calls::Live, "application/sdp", SDP.to_owned()), "send a JSON object"),
        ] {
            let said = models(calls, kind, &body).unwrap_err();
            assert!(said.starts_with(wanted), "{body}: {said}");
        }
        let long = format!("{SDP}{}", "a".repeat(SDP_BYTES_MAX as usize));
        let said = models(Calls::Realtime, "application/sdp", &long).unwrap_err();
        assert_eq!(said, format!("it is longer than {SDP_BYTES_MAX} bytes"));
    }

    #[test]
    fn another_description_goes_on_in_the_form_that_the_first_came_in() {
        let other = "v=0\r\no=\"other\" 1\r\n";
        let live = format!(
            r#"{{"transport":{{"type":"webrtc","sdp":{SDP:?},"x":[1]}},"session":{{"model":"gpt-live-1"}}}}"#
        );
        for (calls, kind, body) in [
            (Calls::Realtime, "application/sdp", SDP.to_owned()),
            (Calls::Realtime, FORM, form(&[("sdp", SDP)])),
            (Calls::Realtime, FORM, form(&[("session", r#"{"model":"m"}"#), ("sdp", SDP)])),
            (Calls::Live, "application/json", live.clone()),
        ] {
            let mut offer = read(&Doing::Offer, calls, Some(kind), body.as_bytes()).unwrap();
            let carried = offer.carry(other, "x");
            let again = read(&Doing::Offer, calls, Some(&carried.content_type), &carried.body).unwrap();
            assert_eq!((again.sdp(), &again.session), (other.as_bytes(), &offer.session), "{kind}");
        }
        let answer = answer_with(Calls::Live, live.as_bytes(), other).unwrap();
        assert_eq!(answered(Calls::Live, &answer).unwrap(), other.as_bytes());
        assert!(String::from_utf8_lossy(&answer).ends_with(r#","x":[1]},"session":{"model":"gpt-live-1"}}"#));
        assert_eq!(answered(Calls::Live, b"{}"), None);
        assert_eq!(answer_with(Calls::Realtime, b"v=0", other).unwrap(), other.as_bytes());
    }

    #[test]
    fn a_token_says_what_a_session_is_whatever_its_page_says() {
        let token = r#"{"type":"realtime","model":"m","max_output_tokens":100}"#;
        let wide = r#"{"model":"other","max_output_tokens":4000,"audio":{"output":{"voice":"ash"}}}"#;
        for (kind, body) in
            [("application/sdp", SDP.to_owned()), (FORM, form(&[("sdp", SDP), ("session", wide)]))]
        {
            let mut offer = read(&Doing::Offer, Calls::Realtime, Some(kind), body.as_bytes()).unwrap();
            let bound = offer.bind(token, "x").unwrap();
            let mut again =
                read(&Doing::Offer, Calls::Realtime, Some(&bound.content_type), &bound.body).unwrap();
            assert_eq!((&again.sdp, &again.session), (&offer.sdp, &offer.session));
            assert_eq!(again.models().unwrap().session, Some(Model::from("m")));
            assert!(!String::from_utf8_lossy(&again.session.take().unwrap()).contains("4000"));
        }
        let body = format!(r#"{{"session":{wide},"transport":{{"type":"webrtc","sdp":{SDP:?}}}}}"#);
        let mut offer = read(&Doing::Offer, Calls::Live, Some("application/json"), body.as_bytes()).unwrap();
        let bound = offer.bind(token, "x").unwrap();
        let again = read(&Doing::Offer, Calls::Live, Some(&bound.content_type), &bound.body).unwrap();
        assert_eq!(again.models().unwrap().session, Some(Model::from("m")));
    }
}
