//! Accounts: logins of people who use an operator's service. Each sees the keys and the usage of its org, and no other.
//!
//! A registration may name an org, so the question is whose it is. An org that anything is known of belongs to
//! another account: its usage would be shown to a login that registers into it, and keys made there would count for
//! it. So an org is given to the first registration that names it, while nothing is known of it ([`known_org`]). Into
//! one that exists only an owner puts an account, with `POST /admin/logins`.

use crate::error::ApiError;
use crate::login::{Login, Role};
use crate::policy::Policy;
use crate::session::{Everywhere, SignedOut, SigningKey};
use crate::tier::OrgTier;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokenist_control::error::CommandError;
use tokenist_control::handle::Handle;
use tokenist_control::store::{Filter, RefusalFilter, UsageQuery};
use tokenist_control::view::{KeyQuery, UserFilter, UserQuery};
use tokenist_core::browser_token::RevokedToken;
use tokenist_core::catalog::Kept;
use tokenist_core::id::{Holder, OrgId};
use tokenist_core::kept_response::KeptResponse;
use tokenist_core::price::Listing;
use tokenist_core::rule::{Firings, Rule};
use tokenist_core::verdict::Used;

/// The login that an org was given to. Kept under the org's id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claim {
    pub(crate) login: Arc<str>,
}

impl Kept for Claim {
    const KIND: &'static str = "org_account";

    fn org<'a>(&'a self, id: &'a str) -> Option<&'a str> {
        Some(id)
    }
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
    if is_kept || known_org(handle, org).await? {
        let sentence = format!(
            "Organization {org} exists already: register with another orgId, or ask its operator for an account in it"
        );
        return Err(ApiError::new(StatusCode::CONFLICT, sentence));
    }
    Ok(())
}

/// Whether anything is kept for an org: settings, or what its users did. Every kind of the catalog is asked.
async fn known_org(handle: &Handle, org: &OrgId) -> Result<bool, ApiError> {
    Ok(is_in_catalog(handle, org).await? || is_in_ledger(handle, org).await?)
}

async fn is_in_catalog(handle: &Handle, org: &OrgId) -> Result<bool, CommandError> {
    let (
        claims,
        tiers,
        logins,
        policies,
        rules,
        firings,
        prices,
        rounds,
        sign_outs,
        signing,
        tokens,
        responses,
    ) = tokio::try_join!(
        is_kept::<Claim>(handle, org),
        is_kept::<OrgTier>(handle, org),
        is_kept::<Login>(handle, org),
        is_kept::<Policy>(handle, org),
        is_kept::<Rule>(handle, org),
        is_kept::<Firings>(handle, org),
        is_kept::<Listing>(handle, org),
        is_kept::<Everywhere>(handle, org),
        is_kept::<SignedOut>(handle, org),
        is_kept::<SigningKey>(handle, org),
        is_kept::<RevokedToken>(handle, org),
        is_kept::<KeptResponse>(handle, org),
    )?;
    let settings = claims || tiers || logins || policies || rules || firings || prices;
    Ok(settings || rounds || sign_outs || signing || tokens || responses)
}

async fn is_kept<T: Kept>(handle: &Handle, org: &OrgId) -> Result<bool, CommandError> {
    let entries = handle.entries::<T>().await?;
    Ok(entries.iter().any(|(id, entry)| entry.org(id) == Some(org.as_str())))
}

/// What is not in the catalog: a limit, users, keys, and records of any kind. Nothing that has an org may be left out.
async fn is_in_ledger(handle: &Handle, org: &OrgId) -> Result<bool, CommandError> {
    let of_org = || Some(org.clone());
    let filter = UserFilter { org: of_org(), ..UserFilter::default() };
    let keys = KeyQuery { org: of_org(), limit: 1, ..KeyQuery::default() };
    let details = || Filter { org: of_org(), limit: 1, ..Filter::default() };
    let refusals = RefusalFilter { org: of_org(), limit: 1, ..RefusalFilter::default() };
    let (limit, users, keys, live) = tokio::try_join!(
        handle.limit(Holder::Org(org.clone())),
        handle.users(UserQuery { filter, limit: 1, ..UserQuery::default() }),
        handle.keys(keys),
        handle.sessions(),
    )?;
    let (usage, events, sessions, logs, refusals) = tokio::try_join!(
        handle.usage(UsageQuery { org: of_org(), limit: 1, ..UsageQuery::default() }),
        handle.events(details()),
        handle.past_sessions(details()),
        handle.logs(details()),
        handle.refusals(refusals),
    )?;
    let is_used =
        limit.used != Used::default() || live.iter().any(|session| session.identity.org == of_org());
    let is_recorded = !(usage.is_empty() && events.is_empty() && sessions.is_empty() && logs.is_empty());
    let is_set = !limit.limit_is_default || !users.users.is_empty() || keys.total > 0;
    Ok(is_used || is_recorded || is_set || !refusals.is_empty())
}
