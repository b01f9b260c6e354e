//! Calls: sessions whose sound goes by WebRTC or SIP. They are begun and steered by requests, and watched over a socket that is
//! attached to them, or relayed.
//!
//! Start at [`Signal::of`] with a request's method and path, then [`offer::read`] with its body. Where the call is named in an
//! answer says [`named_in`], and where its socket and its end are, a [`Place`]. What a [`description`] says is read where the call is
//! relayed, and to whom a [`datagram`] of it is. Invariant: whatever names a call can stand in a path.

pub mod datagram;
pub mod description;
pub mod offer;

use crate::dialect::{Calls, Dialect};
use crate::http::query;
use crate::json::Fields;
use std::fmt;

/// What a request about calls is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doing {
    /// It begins a call.
    Offer,
    /// It begins a call that has come in, by its id and with the session's settings.
    Accept(String),
    /// It changes or ends the call of this id, or turns it away.
    Steer(String),
}

/// A request about calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    pub doing: Doing,
    pub calls: Calls,
    /// The path of the sockets whose sessions the calls are.
    pub socket: String,
    /// What stands behind that path.
    tail: String,
}

impl Signal {
    /// What a request is for, whatever stands before it in its path; `None`: it has nothing to do with calls.
    pub fn of(method: &str, path: &str) -> Option<Signal> {
        let path = path.trim_end_matches('/');
        if method != "POST" {
            return None;
        }
        let offers = |calls, socket: &str, tail: &str| {
            let (socket, tail) = (socket.to_owned(), tail.to_owned());
            Some(Signal { doing: Doing::Offer, calls, socket, tail })
        };
        match path.rsplit_once('/')? {
            (_, "realtime") => return offers(Calls::Realtime, path, ""),
            (socket, "calls") if socket.ends_with("/realtime") => {
                return offers(Calls::Realtime, socket, "/calls");
            }
            (before, "sessions") if before.ends_with("/live") => return offers(Calls::Live, path, ""),
            _ => {}
        }
        let (before, verb) = path.rsplit_once('/')?;
        let (before, id) = before.rsplit_once('/')?;
        let realtime = before.strip_suffix("/calls").filter(|socket| socket.ends_with("/realtime"));
        let live = before.ends_with("/live/sessions").then_some(before);
        let (calls, socket) =
            realtime.map(|socket| (Calls::Realtime, socket)).or(live.map(|socket| (Calls::Live, socket)))?;
        let doing = match verb {
            _ if !is_id(id) => return None,
            "accept" => Doing::Accept(id.to_owned()),
            "hangup" | "reject" | "refer" => Doing::Steer(id.to_owned()),
            _ => return None,
        };
        let tail = path[socket.len()..].to_owned();
        Some(Signal { doing, calls, socket: socket.to_owned(), tail })
    }

    /// Whether it is offered where a socket is asked for, as it was in the beta: the URL names the model then.
    pub fn is_bare_offer(&self) -> bool {
        self.calls == Calls::Realtime && self.tail.is_empty()
    }

    /// The path at a provider whose sockets have this one.
    pub fn path(&self, socket: &str) -> String {
        format!("{socket}{}", self.tail)
    }
}

/// Whether a word can be a call's id: a provider cannot take it for a path, or for several words.
pub fn is_id(word: &str) -> bool {
    let is_in_id = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.~".contains(&byte);
    word.len() <= ID_BYTES_MAX && word.bytes().all(is_in_id) && word.bytes().any(|byte| byte != b'.')
}

const ID_BYTES_MAX: usize = 256;

/// The call that an answer names, in its `Location` or else in its body.
pub fn named_in(calls: Calls, location: Option<&str>, body: &[u8]) -> Option<String> {
    let id = match calls {
        Calls::Realtime => id_of_location(location?)?,
        Calls::Live => {
            let session = Fields::of(body).filter(|field| field.key.is("session")).last()?.value.fields()?;
            let id = session.filter(|field| field.key.is("id")).last()?;
            id.value.text().map(|text| text.decode().into_owned())?
        }
    };
    is_id(&id).then_some(id)
}

/// The last word of the path, or what the query calls `call_id`.
fn id_of_location(location: &str) -> Option<String> {
    let location = location.split('#').next().unwrap_or_default();
    let in_query = query::parameters(location).find(|parameter| parameter.name() == "call_id");
    if let Some(parameter) = in_query {
        return query::decode(parameter.value()).map(|id| id.into_owned());
    }
    let path = location.split('?').next().unwrap_or_default();
    path.trim_end_matches('/').rsplit_once('/').map(|(_, id)| id.to_owned())
}

/// A `Location` that leads to the same place at another host, where it names one.
pub fn at_host(location: &str, scheme: &str, host: &str) -> String {
    let behind = location.split_once("://").map(|(_, rest)| rest).or_else(|| location.strip_prefix("//"));
    let Some(rest) = behind else { return location.to_owned() };
    let path = rest.find(['/', '?', '#']).map_or("", |at| &rest[at..]);
    format!("{scheme}://{host}{path}")
}

/// Where a call is, at a provider.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    pub call: String,
    /// The path and the query of the socket that sees all of it.
    pub socket: String,
    /// The path of the request that ends it.
    pub hangup: String,
}

impl Place {
    /// Of a call whose sockets have this path.
    pub fn of(calls: Calls, socket: &str, call: &str) -> Place {
        let (socket, before) = match calls {
            Calls::Realtime => (format!("{socket}?call_id={call}"), format!("{socket}/calls")),
            Calls::Live => (format!("{socket}/{call}/attach"), socket.to_owned()),
        };
        Place { call: call.to_owned(), socket, hangup: format!("{before}/{call}/hangup") }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({})", self.call)
    }
}

/// What is spoken on the socket that is attached to a call.
pub fn spoken(dialect: &'static dyn Dialect) -> &'static dyn Dialect {
    dialect.attached().unwrap_or(dialect)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_and_a_path_say_what_is_to_be_done_with_which_call() {
        let steer = |id: &str| Doing::Steer(id.to_owned());
        for (path, wanted) in [
            ("/v1/realtime/calls", Some((Doing::Offer, Calls::Realtime, "/v1/realtime"))),
            ("/realtime/calls/", Some((Doing::Offer, Calls::Realtime, "/realtime"))),
            (
                "/p/x/openai/v1/realtime/calls",
                Some((Doing::Offer, Calls::Realtime, "/p/x/openai/v1/realtime")),
            ),
            ("/v1/realtime", Some((Doing::Offer, Calls::Realtime, "/v1/realtime"))),
            ("/v1/live/sessions", Some((Doing::Offer, Calls::Live, "/v1/live/sessions"))),
            ("/v1/realtime/calls/rtc_1/hangup", Some((steer("rtc_1"), Calls::Realtime, "/v1/realtime"))),
            ("/v1/realtime/calls/rtc_1/refer", Some((steer("rtc_1"), Calls::Realtime, "/v1/realtime"))),
            (
                "/v1/realtime/calls/rtc_1/accept",
                Some((Doing::Accept("rtc_1".into()), Calls::Realtime, "/v1/realtime")),
            ),
            ("/v1/live/sessions/live_1/reject", Some((steer("live_1"), Calls::Live, "/v1/live/sessions"))),
            ("/v1/realtime/calls/rtc_1", None),
            ("/v1/realtime/calls/%2e%2e/hangup", None),
            ("/v1/realtime/calls/../hangup", None),
            ("/v1/realtime/calls/rtc_1/listen", None),
            ("/v1/calls", None),
            ("/v1/sessions", None),
            ("/v1/chat/completions", None),
        ] {
            let found = Signal::of("POST", path).map(|signal| {
                let whole = signal.path(&signal.socket);
                assert_eq!(whole, path.trim_end_matches('/'));
                (signal.doing, signal.calls, signal.socket)
            });
            let wanted = wanted.map(|(doing, calls, socket)| (doing, calls, socket.to_owned()));
            assert_eq!(found, wanted, "{path}");
        }
        assert_eq!(Signal::of("GET", "/v1/realtime/calls"), None);
    }

    #[test]
    fn an_answer_names_its_call_in_any_of_the_known_forms() {
        for (location, wanted) in [
            ("/v1/realtime/calls/rtc_1", Some("rtc_1")),
            ("https://api.openai.com/v1/realtime/calls/rtc_1/", Some("rtc_1")),
            ("/v1/realtime/calls/rtc_1?a=b#c", Some("rtc_1")),
            ("https://x.openai.azure.com/openai/v1/realtime?call_id=rtc%5F1", Some("rtc_1")),
            ("/v1/realtime?call_id=a/b", None),
            ("/v1/realtime/calls/a%0d", None),
            ("rtc_1", None),
            ("", None),
        ] {
            assert_eq!(named_in(Calls::Realtime, Some(location), b"").as_deref(), wanted, "{location}");
        }
        for (body, wanted) in [
            (r#"{"session":{"id":"live_1"},"transport":{"sdp":"v=0"}}"#, Some("live_1")),
            (r#"{"session":{"id":"a b"}}"#, None),
            (r#"{"id":"live_1"}"#, None),
            ("v=0", None),
        ] {
            let found = named_in(Calls::Live, Some("/v1/live/sessions/other"), body.as_bytes());
            assert_eq!(found.as_deref(), wanted, "{body}");
        }
        assert_eq!(named_in(Calls::Realtime, None, b"v=0"), None);
    }

    #[test]
    fn a_location_leads_back_here() {
        for (location, wanted) in [
            ("/v1/realtime/calls/rtc_1", "/v1/realtime/calls/rtc_1"),
            ("https://api.openai.com/v1/realtime/calls/rtc_1", "http://here:1/v1/realtime/calls/rtc_1"),
            ("//api.openai.com:443?call_id=1", "http://here:1?call_id=1"),
            ("https://api.openai.com", "http://here:1"),
        ] {
            assert_eq!(at_host(location, "http", "here:1"), wanted);
        }
    }

    #[test]
    fn a_call_has_a_socket_and_an_end() {
        let of = |calls, socket| Place::of(calls, socket, "c");
        let realtime = of(Calls::Realtime, "/openai/v1/realtime");
        assert_eq!(realtime.socket, "/openai/v1/realtime?call_id=c");
        assert_eq!(realtime.hangup, "/openai/v1/realtime/calls/c/hangup");
        let live = of(Calls::Live, "/v1/live/sessions");
        assert_eq!(live.socket, "/v1/live/sessions/c/attach");
        assert_eq!(live.hangup, "/v1/live/sessions/c/hangup");
    }
}
