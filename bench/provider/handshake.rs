//! From a request to a session, or to the response that refuses it.

use super::Shard;
use super::refusal::{Credential, Refusal};
use super::session::{Dialect, Opening, understood};
use super::sim::Sim;
use crate::http::{self, Request};

/// Settles the handshake.
pub(super) fn settle<D: Dialect>(shard: &Shard, request: &Request) -> Result<(Opening<D>, Sim), Refusal> {
    let sim = sim(shard, request)?;
    understood::<D>(&sim).map_err(|error| Refusal::new(400, "sim", &error))?;
    let credential = credential(shard, D::key(request));
    D::admit(credential)?;
    if let Some((status, retry_after_seconds)) = sim.refuse {
        let message = "The handshake was refused on command.";
        let refusal = Refusal::new(status, "simulated_refusal", message);
        return Err(Refusal { retry_after_seconds, ..refusal });
    }
    Ok((D::open(shard, request, credential, &sim), sim))
}

/// The whole response, with a body in a dialect's words.
pub(super) fn refuse<D: Dialect>(refusal: &Refusal) -> Vec<u8> {
    refuse_with::<D>(refusal, Vec::new())
}

/// Likewise, with more headers.
pub(super) fn refuse_with<D: Dialect>(
    refusal: &Refusal,
    mut headers: Vec<(&'static str, String)>,
) -> Vec<u8> {
    headers.extend(refusal.retry_after_seconds.map(|seconds| ("retry-after", seconds.to_string())));
    http::json_response(refusal.status, &headers, &D::refusal(refusal).to_string())
}

pub(super) fn sim(shard: &Shard, request: &Request) -> Result<Sim, Refusal> {
    let mut sim = shard.options.sim.clone();
    let words = [
        request.path.trim_end_matches('/').ends_with("/echo").then(|| "load=echo".to_owned()),
        request.header("x-sim").map(str::to_owned),
        request.parameter("sim"),
        request.parameter("load").map(|load| format!("load={load}")),
    ];
    for words in words.into_iter().flatten() {
        sim = sim.with(&words).map_err(|error| Refusal::new(400, "sim", &error))?;
    }
    Ok(sim)
}

pub(super) fn credential(shard: &Shard, shown: Option<String>) -> Credential {
    match (shown, &shard.options.key) {
        (None, _) => Credential::Missing,
        (Some(shown), Some(expected)) if shown == *expected => Credential::Right,
        (Some(shown), None) if !shown.is_empty() => Credential::Right,
        (Some(_), _) => Credential::Wrong,
    }
}

/// The head that answers the upgrade.
pub(super) fn accept_upgrade(request: &Request, sim: &Sim) -> Vec<u8> {
    let key = request.header("sec-websocket-key").unwrap_or_default();
    let offered = request.header("sec-websocket-protocol").unwrap_or_default();
    let known = |protocol: &&str| ["realtime", "token", "convai"].contains(protocol);
    let known = offered.split(',').map(str::trim).find(known);
    let mut headers = Vec::new();
    if let Some(protocol) = sim.protocol.as_deref().or(known) {
        headers.push(("sec-websocket-protocol", protocol.to_owned()));
    }
    if let Some(extension) = &sim.extension {
        headers.push(("sec-websocket-extensions", extension.clone()));
    }
    http::upgrade_response(key, &headers)
}
