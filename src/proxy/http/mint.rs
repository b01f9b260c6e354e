//! A token for a page, for the application that asks as it would ask a provider. The provider is not asked.
//!
//! Start at [`answer`]. A tokenist key gives tokens for whom it speaks for; so does a provider key that is the operator's own,
//! for whom the request names. Another's does not: its secret would have to be in the token.

use super::{Client, Failed, close_or_keep, may_keep, turn_down, upload};
use crate::arrival::Arrival;
use crate::authn::{self, Credential};
use crate::cors;
use crate::error::{Phase, SessionError, Side};
use crate::live::Live;
use crate::shard::Shard;
use crate::tokens;
use crate::upgrade::{self, Connection};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use std::rc::Rc;
use tokenist_core::browser_token::{Claims, Form, Wish, Wrong};
use tokenist_core::close_reason::CloseReason;
use tokenist_core::http::RequestHead;
use tokenist_core::key::ProviderKey;
use tokenist_core::verdict::judge_model;

/// The longest request for a token.
const BODY_BYTES_MAX: u64 = 64 * 1024;

const NO_KEY: &str = "a page's token needs a tokenist key (ug_…), or the operator's own provider key: the provider key that this \
    request shows is another one, and is given to no page";
const NO_PROVIDER_KEY: &str = "the sessions of a page's token need a provider key of the operator's, and none is set: see provider.api_key_env";
const WEAK: &str = "tokens are signed by what follows from the operator's token, and that can be guessed: set admin.token to a \
    random one, such as `openssl rand -hex 32` prints";

/// Answers a request for a token. The connection, if it goes on.
pub(super) async fn answer(
    shard: &Rc<Shard>,
    live: &Rc<Live>,
    head: &RequestHead,
    mut client: Client,
    form: Form,
    own_key: Option<ProviderKey>,
) -> Result<Option<Box<Arrival>>, SessionError> {
    let body = match upload::hold_all(shard, live, head, &mut client, BODY_BYTES_MAX).await {
        Ok(body) => body,
        Err(failed) => return turn_down(shard, live, head, client, None, failed).await,
    };
    let (status, body) = match mint(shard, live, head, &body, form, own_key.as_ref()) {
        Ok(given) => given,
        Err(reason) => return turn_down(shard, live, head, client, None, Failed::Refused(reason)).await,
    };
    let keeps = may_keep(shard, head);
    let connection = if keeps { Connection::KeepAlive } else { Connection::Close };
    let private = ("Cache-Control", "no-store".to_owned());
    let answer = upgrade::answer_and(connection, status, &body, &[private]);
    let said = client.writer.write_bytes(cors::tell(live, answer)).await;
    said.map_err(|error| SessionError::new(Side::Downstream, Phase::Relay, error))?;
    Ok(close_or_keep(shard, live, client, keeps).await)
}

/// The answer with its status.
fn mint(
    shard: &Shard,
    live: &Live,
    head: &RequestHead,
    body: &[u8],
    form: Form,
    own_key: Option<&ProviderKey>,
) -> Result<(u16, String), CloseReason> {
    let refused = |why| Ok((403, form.refusal(403, "token_refused", None, why).to_string()));
    if own_key.is_some_and(|key| !is_operators(shard, key)) {
        return refused(NO_KEY);
    }
    if shard.config.providers.iter().all(|provider| provider.keys.is_empty()) {
        return refused(NO_PROVIDER_KEY);
    }
    let Some(signer) = &shard.config.signer else { return refused(WEAK) };
    let now = shard.time().wall;
    let Wish { opens, model, session, starts_until, ends_at, uses } = match form.read(body, now) {
        Ok(wish) => wish,
        Err(Wrong { field, why }) => {
            return Ok((400, form.refusal(400, "invalid_value", Some(field), &why).to_string()));
        }
    };
    if let Some(reason) = model.as_ref().and_then(|model| judge_model(model, &live.bounds())) {
        return Err(reason);
    }
    // Its words once more, so that the token says no more than they do.
    let caller = authn::caller(head, &shard.config.identity, |token| shard.read_token(token))?;
    let claims = Claims {
        id: tokens::name(),
        opens,
        user: caller.user,
        org: caller.org,
        feature: caller.feature,
        key: match caller.credential {
            Credential::Key(key) => Some(key),
            Credential::Own(_) | Credential::Token(_) => None,
        },
        model: model.map(Into::into),
        session: session.map(Into::into),
        made_at: now,
        starts_until,
        ends_at,
        uses,
        run: signer.run(),
    };
    tracing::info!(token = %claims.id, user = claims.user.as_ref().map(tracing::field::display), "a token was given for a page");
    Ok((200, form.answer(&signer.write(&claims), &claims).to_string()))
}

/// Whether a provider key is one of the operator's.
fn is_operators(shard: &Shard, key: &ProviderKey) -> bool {
    let own = shard.config.providers.iter().flat_map(|provider| &provider.keys);
    let is_equal =
        |own: &ProviderKey| verify_slices_are_equal(own.reveal().as_bytes(), key.reveal().as_bytes()).is_ok();
    own.filter(|own| is_equal(own)).count() > 0
}
