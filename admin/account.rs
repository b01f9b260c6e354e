//! Accounts: logins of people who use an operator's service. Each sees the keys and the usage of its org, and no other.
//!
//! Whoever registers may name an org, so the question is whose it is. An org that anything is known of belongs to
//! somebody: its usage would be shown to whoever registers into it, and keys made there would count for it. So an org
//! is given to who asks for it first, while nothing is known of it. Into one that exists only an owner puts an account,
//! with `POST /admin/logins`.

use crate::error::ApiError;
use crate::login::{Login, Role};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokenist_control::handle::Handle;
use tokenist_control::store::UsageQuery;
use tokenist_control::view::{KeyQuery, UserFilter, UserQuery};
use tokenist_core::catalog::Kept;
use tokenist_core::id::{Holder, OrgId, UserId};
use tokenist_core::verdict::Used;

/// To whom an org was given. Kept under the org's id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claim {
    pub(crate) login: Arc<str>,
}

impl Kept for Claim {
    const KIND: &'static str = "org_account";
}

/// The org of an account; of other logins none.
pub(crate) fn org_of(id: &str, login: &Login) -> Option<OrgId> {
    (login.role == Role::Member).then(|| login.org.clone().unwrap_or_else(|| own_org(id)))
}

/// The org that an account has if none is said. No other account gets it.
pub(crate) fn own_org(id: &str) -> OrgId {
    OrgId::from(&*format!("org_{id}"))
}

/// Two instances may have given one org to two accounts at the same moment. Then the later claim holds, on both.
pub(crate) async fn check(handle: &Handle, id: &str, login: &Login) -> Result<(), ApiError> {
    let Some(org) = org_of(id, login).filter(|_| login.registered) else { return Ok(()) };
    match handle.entry::<Claim>(org.as_str()).await? {
        Some(claim) if *claim.login == *id => Ok(()),
        Some(_) | None => {
            let sentence =
                format!("Organization {org} belongs to another account: register with another orgId");
            Err(ApiError::new(StatusCode::FORBIDDEN, sentence))
        }
    }
}

/// Refuses an org that something is known of, or that is kept for another account.
pub(crate) async fn refuse_known(handle: &Handle, id: &str, org: &OrgId) -> Result<(), ApiError> {
    let is_kept = *org != own_org(id) && org.as_str().starts_with(own_org("login_").as_str());
    if is_kept || is_known(handle, org).await? {
        let sentence = format!(
            "Organization {org} exists already: register with another orgId, or ask its operator for an account in it"
        );
        return Err(ApiError::new(StatusCode::CONFLICT, sentence));
    }
    Ok(())
}

async fn is_known(handle: &Handle, org: &OrgId) -> Result<bool, ApiError> {
    let filter = UserFilter { org: Some(org.clone()), ..UserFilter::default() };
    let keys = KeyQuery { org: Some(org.clone()), limit: 1, ..KeyQuery::default() };
    let usage = UsageQuery { org: Some(org.clone()), limit: 1, ..UsageQuery::default() };
    let (claim, limit, users, keys, usage) = tokio::try_join!(
        handle.entry::<Claim>(org.as_str()),
        handle.limit(Holder::Org(org.clone())),
        handle.users(UserQuery { filter, limit: 1, ..UserQuery::default() }),
        handle.keys(keys),
        handle.usage(usage),
    )?;
    Ok(claim.is_some()
        || !limit.limit_is_default
        || limit.used != Used::default()
        || !users.users.is_empty()
        || keys.total > 0
        || !usage.is_empty())
}

/// A key that an account made speaks for users of its org and for such as nobody has heard of, or anybody who
/// registers could use up another org's limits and look at its users.
pub(crate) async fn check_user(handle: &Handle, own: Option<&OrgId>, user: &UserId) -> Result<(), ApiError> {
    match handle.org_of(user.clone()).await? {
        Some(org) if org.as_ref() != own => {
            let sentence =
                format!("An account's keys speak for users of its own organization, and {user} is another's");
            Err(ApiError::new(StatusCode::FORBIDDEN, sentence))
        }
        Some(_) | None => Ok(()),
    }
}
