//! What the holder of a tokenist key has used, and what is left: `GET /v1/usage/me`.

use crate::admission;
use crate::authn::{self, Caller, Credential};
use crate::shard::Shard;
use crate::upgrade;
use serde_json::{Value, json};
use std::rc::Rc;
use std::sync::Arc;
use tokenist_core::close_reason::CloseReason;
use tokenist_core::http::RequestHead;
use tokenist_core::id::Identity;
use tokenist_core::limit::{AccountState, Mode};
use tokenist_core::models::{Models, Pattern};
use tokenist_core::money::NanoUsd;
use tokenist_core::time::Timestamp;
use tokenist_core::verdict::{Remaining, Used};
use tokenist_handoff::{Admission, UserUsage};

/// Behind any prefix.
const PATH: &str = "/v1/usage/me";

pub(crate) fn is_asked(head: &RequestHead) -> bool {
    head.method == "GET" && head.path().trim_end_matches('/').ends_with(PATH)
}

/// The answer, or why there is none. Who brings a provider key of its own says itself who the user is, so that key
/// proves nothing here.
pub(crate) async fn answer(shard: &Rc<Shard>, head: &RequestHead) -> Result<Vec<u8>, CloseReason> {
    let caller = authn::caller(head, &shard.config.identity, |token| shard.read_token(token))?;
    let Caller { credential, user, org, feature, .. } = caller;
    let (key, bound) = match credential {
        Credential::Key(key) => (Some(key), None),
        Credential::Token(claims) => {
            admission::show(shard, &claims, None).await?;
            (claims.key, claims.model)
        }
        Credential::Own(_) => {
            let why =
                "usage is told to the holder of a tokenist key (ug_…) or of a page's token (ek_…) alone";
            return Err(CloseReason::Unauthorized(why.into()));
        }
    };
    let question = match (key, user) {
        (Some(key), user) => Admission::Question { key, user, org },
        (None, Some(user)) => Admission::Standing(Arc::new(Identity { org, feature, ..Identity::of(user) })),
        (None, None) => return Err(CloseReason::Unauthorized("this token names no user".into())),
    };
    let mut usage = admission::user_usage(shard, question).await?;
    usage.models.extend(bound.map(|model| Models::from_iter([Pattern::Name(model.to_string())])));
    let body = body(&usage, shard.time().wall);
    Ok(upgrade::answer(200, &body.to_string(), &[("Cache-Control", "no-store".to_owned())]))
}

/// Of the user, in its limit's window. Null is unlimited.
fn body(usage: &UserUsage, now: Timestamp) -> Value {
    let AccountState { limit, resets_at, block, .. } = &usage.state;
    let Remaining { cost, tokens } = Remaining::of(limit, usage.used);
    let Used { cost: used_cost, tokens: used_tokens } = usage.used;
    let block = block.as_ref().filter(|block| block.holds_at(now));
    json!({
        "object": "usage",
        "user_id": &*usage.shown_id,
        "window": limit.window,
        "resets_at": resets_at.map(|at| at.to_string()),
        "enforced": limit.mode == Mode::Enforce,
        "used": {"cost_usd": used_cost.usd(), "tokens": used_tokens},
        "limit": {"cost_usd": limit.max_cost.map(NanoUsd::usd), "tokens": limit.max_tokens},
        "remaining": {"cost_usd": cost.map(NanoUsd::usd), "tokens": tokens},
        "blocked": block.is_some(),
        "allowed_models": allowed_models(&usage.models),
    })
}

/// Null is any; a last `*` stands for any end of a name.
fn allowed_models(lists: &[Models]) -> Value {
    let named = Models::in_all(lists);
    match lists.is_empty() {
        true => Value::Null,
        false => named.split(", ").filter(|name| !name.is_empty()).collect(),
    }
}
