//! User ids of accounts are each org's own: [`Space`] translates at this port between what is said and what is stored.

use crate::auth::Caller;
use crate::error::ApiError;
use axum::http::StatusCode;
use tokenist_control::handle::Handle;
use tokenist_core::authority::{Mute, space_of};
use tokenist_core::id::{Identity, OrgId, SPACE_PREFIX, UserId};
use tokenist_core::key::Key;

/// The name space of an account's keys: what is said there is bare, what is stored is not. All other callers say what is
/// stored.
#[derive(Clone, Debug, Default)]
pub(crate) struct Space(Option<OrgId>);

impl Space {
    pub(crate) fn of_key(key: &Key) -> Space {
        Space(space_of(key).cloned())
    }

    pub(crate) fn of(caller: &Caller) -> Space {
        match caller {
            Caller::Key(key) => Space::of_key(key),
            Caller::Operator | Caller::Login { .. } => Space(caller.account().map(|(_, org)| org)),
        }
    }

    /// Whether an account asks.
    pub(crate) fn is_an_orgs(&self) -> bool {
        self.0.is_some()
    }

    /// The id under which a user is stored that is called so here.
    pub(crate) fn said(&self, user: UserId) -> UserId {
        self.0.as_ref().map_or_else(|| user.clone(), |org| user.spaced(org))
    }

    /// What a user is called here.
    pub(crate) fn shown<'a>(&self, user: &'a UserId) -> &'a str {
        if self.0.is_some() { user.bare() } else { user.as_str() }
    }
}

/// The user that a key of an account is bound to where this one is asked for: see `tokenist_core::authority::speak`.
pub(crate) async fn bound_user(handle: &Handle, org: &OrgId, user: UserId) -> Result<UserId, ApiError> {
    if user.as_str().starts_with(SPACE_PREFIX) {
        return Err((&Mute::Spaced).into());
    }
    let spaced = user.spaced(org);
    let is_of_before = handle.org_of(spaced.clone()).await?.is_none()
        && handle.org_of(user.clone()).await?.flatten().as_ref() == Some(org);
    Ok(if is_of_before { user } else { spaced })
}

/// An operator's key that is bound to a user and to an org says where the user belongs, and no other than it belongs to.
pub(crate) async fn name_user(handle: &Handle, user: &UserId, org: &OrgId) -> Result<(), ApiError> {
    refuse_other_space(user, org)?;
    match handle.org_of(user.clone()).await?.flatten() {
        Some(other) if other != *org => {
            let sentence =
                format!("User {user} is of organization {other}: leave out orgId, or name that one");
            Err(ApiError::new(StatusCode::CONFLICT, sentence))
        }
        Some(_) => Ok(()),
        None => {
            let identity = Identity { org: Some(org.clone()), ..Identity::of(user.clone()) };
            handle.introduce(identity).await?;
            Ok(())
        }
    }
}

/// A user of an org's name space is that org's.
pub(crate) fn refuse_other_space(user: &UserId, org: &OrgId) -> Result<(), ApiError> {
    match user.space() {
        Some(own) if own != *org => {
            let sentence = format!("User {user} is of organization {own} for good: leave out orgId");
            Err(ApiError::new(StatusCode::BAD_REQUEST, sentence))
        }
        Some(_) | None => Ok(()),
    }
}
