//! What the data port answers by itself, and where else a path leads.

use crate::authn;
use crate::config::Unmetered;
use crate::shard::Shard;
use crate::{upgrade, usage};
use serde_json::json;
use tokenist_core::api::Api;
use tokenist_core::browser_token::Form;
use tokenist_core::dialect::Address;
use tokenist_core::http::{RequestHead, query};
use tokenist_core::provider::{NoRoute, RequestRoute, Route, path};
use tokenist_core::signalling::Signal;

/// Where a request goes that is for no session.
#[derive(Clone, Debug)]
pub(crate) enum Destination {
    /// To a provider whose API knows it.
    Api(RequestRoute),
    /// To the provider of this index, and the path there.
    Unmetered(usize, String),
    /// To nobody: it asks for a token for a page.
    Mint(Form),
    /// To a provider that has calls.
    Call(Box<Calling>),
}

/// A request about calls, and where their sockets are.
#[derive(Clone, Debug)]
pub(crate) struct Calling {
    pub(crate) signal: Signal,
    pub(crate) route: Route,
}

impl Destination {
    /// What is to be done with calls, if it has to do with some.
    pub(crate) fn signal(&self) -> Option<&Signal> {
        match self {
            Destination::Call(calling) => Some(&calling.signal),
            Destination::Api(_) | Destination::Unmetered(..) | Destination::Mint(_) => None,
        }
    }

    pub(crate) fn route(&self) -> Option<&RequestRoute> {
        match self {
            Destination::Api(route) => Some(route),
            Destination::Unmetered(..) | Destination::Mint(_) | Destination::Call(_) => None,
        }
    }

    /// In whose words a request is refused.
    pub(crate) fn api(&self) -> Option<&'static dyn Api> {
        self.route().map(|route| route.first().0)
    }
}

/// Where a request leads that is for no session and that is not answered here. `None`: nowhere.
pub(crate) fn destination(shard: &Shard, head: &RequestHead) -> Option<Destination> {
    let path = head.path();
    let is_ours = || OWN.contains(&path.trim_end_matches('/'));
    let routes = &shard.config.routes;
    if head.wants_websocket() || is_ours() || usage::is_asked(head) || routes.address(&path).is_some() {
        return None;
    }
    if let Some(form) = Form::of(&head.method, &path) {
        return Some(Destination::Mint(form));
    }
    let calling = |path: &str| {
        let signal = Signal::of(&head.method, path)?;
        // Whoever offers nothing where sockets are wants one of those.
        let offers = || ["application/sdp", "multipart/"].iter().any(|kind| head.headers.are_of_type(kind));
        if signal.is_bare_offer() && !offers() {
            return None;
        }
        Some(Calling { route: routes.of_calls(&signal)?, signal })
    };
    if let Some(calling) = calling(&path) {
        return Some(Destination::Call(Box::new(calling)));
    }
    if let Some(route) = routes.of_request(&head.method, &path) {
        return Some(Destination::Api(route));
    }
    let is_metered = |path: &str| {
        routes.of_request(&head.method, path).is_some()
            || routes.of_path(path).is_ok()
            || calling(path).is_some()
    };
    let passes =
        shard.config.unmetered == Unmetered::Pass && !readings(&path).iter().any(|path| is_metered(path));
    let (provider, path) = routes.unmetered(&path).ok().filter(|_| passes)?;
    Some(Destination::Unmetered(provider, path.to_owned()))
}

/// As what a provider might read a path: without dot segments, parameters and what is encoded, and in lower case.
fn readings(path: &str) -> [String; 3] {
    let escaped = path.replace('+', "%2B");
    let decoded = query::decode(&escaped).unwrap_or(path.into());
    let mut words: Vec<&str> = Vec::new();
    for word in decoded.split(['/', '\\']).map(|word| word.split(';').next().unwrap_or_default()) {
        match word {
            "" | "." => {}
            ".." => drop(words.pop()),
            word => words.push(word),
        }
    }
    let plain = format!("/{}", words.join("/"));
    [path.to_owned(), plain.to_ascii_lowercase(), plain]
}

/// Where a request for a session leads; `Err` is the answer to any other.
pub(crate) fn route(shard: &Shard, head: &RequestHead) -> Result<Route, Vec<u8>> {
    let path = head.path();
    if let Some(answer) = health(shard, path.trim_end_matches('/')) {
        return Err(answer);
    }
    match shard.config.routes.of_path(&path) {
        Ok(route) if head.wants_websocket() => Ok(route),
        Ok(_) => {
            let message = format!("{path} is a WebSocket endpoint: send an upgrade request");
            Err(invalid(400, "upgrade_required", message))
        }
        Err(NoRoute::UnknownPath) => {
            let message = format!(
                "Unknown path {path:?}: tokenist relays WebSocket upgrades of the realtime paths of its providers, such as \
                 GET …/v1/realtime, calls, POST …/v1/realtime/calls, and requests that it can meter, such as \
                 POST …/v1/chat/completions, and tells a key's use at GET …/v1/usage/me; any other passes with `http.unmetered = \"pass\"`"
            );
            Err(invalid(404, "unknown_path", message))
        }
        Err(error @ NoRoute::UnknownProvider { .. }) => {
            Err(invalid(404, "unknown_provider", format!("Unknown path {path:?}: {error}")))
        }
    }
}

/// What a provider would answer who asks it where to dial, with an address that leads back here. A signature of the provider's
/// is not needed in it: whoever is let in here is served with the operator's key. `None`: that was not asked.
pub(crate) fn address(
    shard: &Shard,
    head: &RequestHead,
    path_key: Option<&str>,
    is_tls: bool,
) -> Option<Vec<u8>> {
    let asked = head.path();
    let is_asked = head.method == "GET" && !head.wants_websocket();
    let Address { field, path } = shard.config.routes.address(&asked).filter(|_| is_asked)?;
    let Some(key) = path_key else {
        let message = "whoever dials a signed URL shows nothing else, so ask for one with a tokenist key before the path \
                       (/k/ug_…/), which will stand in it";
        return Some(invalid(401, "unauthorized", message.to_owned()));
    };
    let host = String::from_utf8_lossy(head.headers.get("host").unwrap_or_default());
    let scheme = if is_tls { "wss" } else { "ws" };
    let provider = path::take_provider(&asked).0.map(|name| format!("/p/{name}")).unwrap_or_default();
    let rules = &shard.config.identity;
    let query: Vec<&str> = head
        .query()
        .filter(|parameter| authn::is_for_provider(*parameter, rules))
        .map(|parameter| parameter.as_str())
        .collect();
    let url = format!("{scheme}://{host}/k/{key}{provider}{path}?{}", query.join("&"));
    Some(upgrade::answer(200, &json!({field: url}).to_string(), &[("Cache-Control", "no-store".to_owned())]))
}

/// Answered here.
const OWN: [&str; 2] = ["/health", "/ready"];

fn health(shard: &Shard, path: &str) -> Option<Vec<u8>> {
    OWN.contains(&path).then(|| match shard.is_draining() {
        true => upgrade::answer(503, r#"{"status":"draining"}"#, &[]),
        false => upgrade::answer(200, r#"{"status":"ok"}"#, &[]),
    })
}

/// A request that no retry makes better.
fn invalid(status: u16, code: &str, message: String) -> Vec<u8> {
    let error =
        json!({"error": {"type": "invalid_request_error", "code": code, "message": message, "param": null}});
    upgrade::answer(status, &error.to_string(), &[("x-should-retry", "false".to_owned())])
}
