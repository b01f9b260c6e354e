//! How a call is asked for in HTTP: which session, with which offer.

use crate::http::{self, Request};
use crate::provider::parts;
use serde_json::{Value, json};

/// Longer offers are refused; a browser's are about 6 KB.
const OFFER_BYTES_MAX: usize = 128 << 10;

/// Whose calls they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Api {
    /// OpenAI Realtime, and Azure's.
    Realtime,
    /// GPT-Live.
    Live,
}

/// What a request about calls asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked<'a> {
    /// A call.
    Begin(Api),
    /// Something of the call of this id.
    Control(Api, &'a str, &'a str),
    /// To hear the events of the call of this id, and to speak beside its client.
    Attach(Api, String),
}

impl Asked<'_> {
    pub(super) fn of(request: &Request, is_upgrade: bool) -> Option<Asked<'_>> {
        let path = request.path.trim_end_matches('/');
        if is_upgrade {
            let attached = path.strip_suffix("/attach").and_then(|path| path.rsplit_once("/live/sessions/"));
            let by_id = || request.parameter("call_id").filter(|_| path.ends_with("/realtime"));
            return match attached {
                Some((_, id)) => Some(Asked::Attach(Api::Live, id.to_owned())),
                None => by_id().map(|id| Asked::Attach(Api::Realtime, id)),
            };
        }
        let is_sdp =
            || request.header("content-type").is_some_and(|kind| kind.starts_with("application/sdp"));
        if request.method != "POST" {
            return None;
        } else if path.ends_with("/realtime/calls") || (path.ends_with("/realtime") && is_sdp()) {
            return Some(Asked::Begin(Api::Realtime));
        } else if path.ends_with("/live/sessions") {
            return Some(Asked::Begin(Api::Live));
        }
        let (before, what) = path.rsplit_once('/')?;
        let (api, id) = match (before.rsplit_once("/realtime/calls/"), before.rsplit_once("/live/sessions/"))
        {
            (Some((_, id)), _) => (Api::Realtime, id),
            (None, Some((_, id))) => (Api::Live, id),
            (None, None) => return None,
        };
        ["accept", "reject", "refer", "hangup"].contains(&what).then_some(Asked::Control(api, id, what))
    }
}

/// The offer, and the session as it is to be.
#[derive(Debug, PartialEq)]
pub(super) struct Form {
    pub(super) offer: String,
    pub(super) session: Value,
}

impl Form {
    /// # Errors
    /// What is wrong with the body.
    pub(super) fn of(api: Api, request: &Request, body: &[u8]) -> Result<Form, String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let form = match (api, parts::boundary(request)) {
            (Api::Realtime, None) => Form { offer: text(body), session: Value::Null },
            (Api::Realtime, Some(boundary)) => {
                let parts = parts::of(boundary, body)?;
                let part = |name: &str| parts.iter().find(|part| part.name == name).map(|part| part.content);
                let session = part("session").map(serde_json::from_slice).transpose();
                let session = session.map_err(|error| format!("The part session is not JSON: {error}"))?;
                let offer = text(part("sdp").ok_or("The form has no part sdp.")?);
                Form { offer, session: session.unwrap_or(Value::Null) }
            }
            (Api::Live, _) => {
                let body: Value =
                    serde_json::from_slice(body).map_err(|error| format!("The body is not JSON: {error}"))?;
                let transport = &body["transport"];
                if transport["type"] != "webrtc" {
                    return Err("transport.type has to be webrtc.".to_owned());
                }
                let offer = transport["sdp"].as_str().ok_or("transport.sdp is missing.")?;
                Form { offer: offer.to_owned(), session: body["session"].clone() }
            }
        };
        match form.offer.len() {
            0 => Err("There is no offer.".to_owned()),
            bytes if bytes > OFFER_BYTES_MAX => {
                Err(format!("The offer has more than {OFFER_BYTES_MAX} bytes."))
            }
            _ => Ok(form),
        }
    }

    /// The request with what the session is for in the query, where a handshake has it.
    pub(super) fn as_handshake(&self, request: &Request) -> Request {
        let mut request = request.clone();
        if self.session["type"] == "transcription" {
            request.query.push_str("&intent=transcription");
        }
        request
    }
}

/// Lets a page ask for calls of whatever origin it is, with what headers it wants to; `None` if a request asks nothing of the kind.
pub(super) fn preflight(request: &Request) -> Option<Vec<u8>> {
    let method = request.header("access-control-request-method").filter(|_| request.method == "OPTIONS")?;
    // What a page would ask for: the oldest form of a call is known by the type of its body.
    let kind = ("content-type".to_owned(), "application/sdp".to_owned());
    let meant = Request { method: method.to_owned(), headers: vec![kind], ..request.clone() };
    Asked::of(&meant, false)?;
    let mut headers = to_pages();
    headers.push(("access-control-allow-methods", "POST".to_owned()));
    let wanted = request.header("access-control-request-headers").unwrap_or_default();
    headers.push(("access-control-allow-headers", wanted.to_owned()));
    headers.push(("access-control-max-age", "600".to_owned()));
    Some(http::response(200, "text/plain; charset=utf-8", &headers, ""))
}

/// What lets a page of whatever origin read an answer.
pub(super) fn to_pages() -> Vec<(&'static str, String)> {
    vec![
        ("access-control-allow-origin", "*".to_owned()),
        ("access-control-expose-headers", "Location, X-Request-Id".to_owned()),
    ]
}

/// What tells the answer: its type, the headers beside it, and the body.
pub(super) fn told(
    api: Api,
    id: &str,
    answer: String,
) -> (&'static str, Vec<(&'static str, String)>, String) {
    let mut headers = to_pages();
    headers.push(("x-request-id", format!("req_{id}")));
    match api {
        Api::Realtime => {
            headers.push(("location", format!("/v1/realtime/calls/{id}")));
            ("text/plain; charset=utf-8", headers, answer)
        }
        Api::Live => {
            let body = json!({"session": {"id": id}, "transport": {"type": "webrtc", "sdp": answer}});
            ("application/json", headers, body.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, path: &str, query: &str, kind: &str) -> Request {
        let headers = vec![("content-type".to_owned(), kind.to_owned())];
        Request { method: method.into(), path: path.into(), query: query.into(), headers }
    }

    #[test]
    fn what_is_asked_of_calls_is_known_by_its_path() {
        let json = "application/json";
        for (method, path, query, kind, expected) in [
            ("POST", "/v1/realtime/calls", "", json, Some(Asked::Begin(Api::Realtime))),
            ("POST", "/openai/v1/realtime/calls/", "", json, Some(Asked::Begin(Api::Realtime))),
            ("POST", "/v1/realtime", "model=m", "application/sdp", Some(Asked::Begin(Api::Realtime))),
            ("POST", "/v1/realtime", "model=m", json, None),
            ("POST", "/v1/live/sessions", "", json, Some(Asked::Begin(Api::Live))),
            ("GET", "/v1/realtime/calls", "", json, None),
            (
                "POST",
                "/v1/realtime/calls/rtc_1/hangup",
                "",
                json,
                Some(Asked::Control(Api::Realtime, "rtc_1", "hangup")),
            ),
            ("POST", "/v1/live/sessions/s/refer", "", json, Some(Asked::Control(Api::Live, "s", "refer"))),
            ("POST", "/v1/realtime/calls/rtc_1/dance", "", json, None),
        ] {
            assert_eq!(Asked::of(&request(method, path, query, kind), false), expected, "{method} {path}");
        }
        for (path, query, expected) in [
            ("/v1/realtime", "call_id=rtc_1", Some(Asked::Attach(Api::Realtime, "rtc_1".into()))),
            ("/v1/live/sessions/s/attach", "", Some(Asked::Attach(Api::Live, "s".into()))),
            ("/v1/realtime", "model=m", None),
            ("/v1/responses", "call_id=rtc_1", None),
        ] {
            assert_eq!(Asked::of(&request("GET", path, query, ""), true), expected, "{path}?{query}");
        }
    }

    #[test]
    fn a_page_may_ask_for_calls_with_the_headers_that_it_wants_to() {
        let asked = |path: &str, method: &str| {
            let headers = [
                ("access-control-request-method", method),
                ("access-control-request-headers", "authorization,x-openai-agents-sdk"),
            ];
            let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
            preflight(&Request { method: "OPTIONS".into(), path: path.into(), query: String::new(), headers })
        };
        for path in
            ["/v1/realtime/calls", "/v1/realtime", "/v1/live/sessions", "/v1/realtime/calls/rtc_1/hangup"]
        {
            let allowed = String::from_utf8(asked(path, "POST").expect(path)).unwrap();
            assert!(allowed.starts_with("HTTP/1.1 200 OK\r\n"), "{allowed}");
            for header in [
                "access-control-allow-origin: *",
                "access-control-allow-methods: POST",
                "access-control-allow-headers: authorization,x-openai-agents-sdk",
            ] {
                assert!(allowed.contains(&format!("\r\n{header}\r\n")), "{header} in {allowed}");
            }
        }
        assert_eq!(asked("/v1/realtime/calls", "DELETE"), None);
        assert_eq!(asked("/v1/chat/completions", "POST"), None);
        assert_eq!(preflight(&request("POST", "/v1/realtime/calls", "", "application/sdp")), None);
    }

    #[test]
    fn each_form_brings_the_offer_and_the_session() {
        let part = |head: &str, content: &str| {
            format!("--edge\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
        };
        let form = part("name=\"sdp\"; filename=\"blob\"\r\nContent-Type: application/sdp", "v=0\r\n")
            + &part("name=\"session\"", "{\"type\": \"realtime\", \"model\": \"m\"}")
            + "--edge--\r\n";
        let multipart =
            request("POST", "/v1/realtime/calls", "audit=a", "multipart/form-data; boundary=edge");
        let read = Form::of(Api::Realtime, &multipart, form.as_bytes()).unwrap();
        assert_eq!(
            read,
            Form { offer: "v=0\r\n".into(), session: json!({"type": "realtime", "model": "m"}) }
        );
        let transcription = Form { session: json!({"type": "transcription"}), ..read };
        assert_eq!(transcription.as_handshake(&multipart).query, "audit=a&intent=transcription");

        let raw = request("POST", "/v1/realtime/calls", "", "application/sdp");
        let read = Form::of(Api::Realtime, &raw, b"v=0\r\n").unwrap();
        assert_eq!(read, Form { offer: "v=0\r\n".into(), session: Value::Null });

        let live =
            json!({"session": {"model": "m"}, "transport": {"type": "webrtc", "sdp": "v=0"}}).to_string();
        let read = Form::of(Api::Live, &raw, live.as_bytes()).unwrap();
        assert_eq!(read, Form { offer: "v=0".into(), session: json!({"model": "m"}) });

        let long = "v".repeat(OFFER_BYTES_MAX + 1);
        let other = json!({"transport": {"type": "websocket"}}).to_string();
        for (api, request, body) in [
            (Api::Realtime, &raw, ""),
            (Api::Realtime, &raw, long.as_str()),
            (Api::Realtime, &multipart, "--edge\r\n--edge--\r\n"),
            (Api::Realtime, &multipart, &form.replace("{\"type", "{type")),
            (Api::Live, &raw, "v=0"),
            (Api::Live, &raw, &other),
        ] {
            assert!(Form::of(api, request, body.as_bytes()).is_err(), "{api:?} {body:.20}");
        }
    }
}
