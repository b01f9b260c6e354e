//! How a session is kept to the token that its page has opened it with.
//!
//! Start at [`bind`]. What of the page's later events goes beyond the token is found in `client_events`.

use crate::admission;
use crate::authn::MODEL_PARAMETERS;
use crate::live::Live;
use crate::opening::Opening;
use crate::shard::Shard;
use crate::tokens::{Binding, beyond};
use std::rc::Rc;
use tokenist_core::browser_token::{self, Claims, Opens, TokenFault};
use tokenist_core::close_reason::CloseReason;
use tokenist_core::dialect::Dialect;
use tokenist_core::http::{RequestHead, query};
use tokenist_core::signalling::Signal;

/// Opens a session with a token, whose request says from here on what the token says. That of a call says so in its body.
pub(crate) fn bind(
    live: &Live,
    head: &mut RequestHead,
    claims: &Claims,
    signal: Option<&Signal>,
) -> Result<(), CloseReason> {
    let path = signal.map_or_else(|| head.path(), |signal| signal.socket.as_str().into());
    if !claims.opens.is_for(&path) {
        return Err(CloseReason::Token(TokenFault::OtherSession(claims.opens)));
    }
    narrow(head, claims, signal.is_none_or(Signal::is_bare_offer))?;
    let first = live.token.set(Box::new(Binding::new(claims.clone()))).is_ok();
    assert!(first, "a session is opened with one token");
    Ok(())
}

/// Has a request name the token's model, and no other, and what was begun elsewhere not at all. What it does not say is added to its
/// URL where that `adds` it.
fn narrow(head: &mut RequestHead, claims: &Claims, adds: bool) -> Result<(), CloseReason> {
    if head.query().any(|parameter| parameter.name() == "call_id") {
        return Err(beyond("it opens a session of its own, and attaches to no other (call_id)".into()));
    }
    let named: Vec<String> = head
        .query()
        .filter(|parameter| MODEL_PARAMETERS.contains(&&*parameter.name()))
        .map(|parameter| query::decode(parameter.value()).unwrap_or_default().into_owned())
        .collect();
    if claims.opens == Opens::Transcription {
        if !named.is_empty() {
            return Err(beyond(
                "it transcribes with the model of its settings, so its URL names none".into(),
            ));
        }
        if adds && !head.query().any(|parameter| parameter.name() == "intent") {
            append(head, "intent", "transcription");
        }
        return Ok(());
    }
    let Some(model) = &claims.model else { return Ok(()) };
    if let Some(other) = named.iter().find(|name| ***name != **model) {
        return Err(CloseReason::ModelNotAllowed { model: other.as_str().into(), allowed: model.clone() });
    }
    if adds && named.is_empty() && matches!(claims.opens, Opens::Realtime | Opens::Translation) {
        append(head, "model", model);
    }
    Ok(())
}

fn append(head: &mut RequestHead, name: &str, value: &str) {
    head.target.push(if head.target.contains('?') { '&' } else { '?' });
    head.target.push_str(name);
    head.target.push('=');
    for byte in value.bytes() {
        match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            true => head.target.push(char::from(byte)),
            false => head.target.push_str(&format!("%{byte:02X}")),
        }
    }
}

/// A page's first event with the token's settings in it, where it sets up the session.
pub(crate) fn impose(
    live: &Live,
    dialect: &'static dyn Dialect,
    opening: Opening,
) -> Result<Opening, CloseReason> {
    let Some(token) = live.token.get() else { return Ok(opening) };
    if opening.call.is_some() || opening.model.is_none() {
        return Err(beyond("it opens a session of its own, and attaches to no other".into()));
    }
    if let (Some(model), Some(allowed)) = (&opening.model, &token.claims.model)
        && model.as_str() != &**allowed
    {
        return Err(CloseReason::ModelNotAllowed { model: model.as_str().into(), allowed: allowed.clone() });
    }
    let Some(session) = token.claims.session.as_deref() else { return Ok(opening) };
    let event = browser_token::impose(&opening.event, session).map_err(beyond)?;
    opening.instead(dialect, event, live.mask_key())
}

/// Counts one more use of the session's token, if it has one, before anything is dialled. What is resumed was counted.
pub(crate) async fn spend(shard: &Rc<Shard>, live: &Live) -> Result<(), CloseReason> {
    let Some(Binding { claims, .. }) = live.token.get().map(|token| &**token) else { return Ok(()) };
    if live.id() != live.connection {
        return Ok(());
    }
    claims.may_begin(shard.time().wall).map_err(CloseReason::Token)?;
    let signer = shard.config.signer.as_ref().expect("its token was read");
    if !signer.can_count(claims) {
        return Err(CloseReason::Token(TokenFault::Restarted));
    }
    match claims.uses {
        Some(_) => admission::show(shard, claims, claims.uses).await,
        None => Ok(()),
    }
}
