//! What paths name, decoded and checked.

use crate::error::ApiError;
use axum::extract::{FromRequestParts, Path};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use tokenist_core::id::{IdError, OrgId, UserId};
use utoipa::IntoParams;

/// The user that a path names.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct UserPath {
    /// The user's id, URL-encoded.
    #[param(value_type = String)]
    pub(super) id: UserId,
}

/// The org that a path names.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct OrgPath {
    /// The org's id, URL-encoded.
    #[param(value_type = String)]
    pub(super) org: OrgId,
}

/// The org and the user that a path names.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct OrgUserPath {
    /// The org's id, URL-encoded.
    #[param(value_type = String)]
    pub(super) org: OrgId,
    /// The user's id, URL-encoded.
    #[param(value_type = String)]
    pub(super) id: UserId,
}

/// The org that a path names, and the id of a log, policy or rule of it. What can be no id is that of none.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct OrgItemPath {
    /// The org's id, URL-encoded.
    #[param(value_type = String)]
    pub(super) org: OrgId,
    pub(super) id: String,
}

impl<S: Send + Sync> FromRequestParts<S> for UserPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<UserPath, ApiError> {
        let id: String = decoded(parts, state, "User id").await?;
        Ok(UserPath { id: checked("User id", &id, UserId::parse)? })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for OrgPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<OrgPath, ApiError> {
        let org: String = decoded(parts, state, "Org id").await?;
        Ok(OrgPath { org: checked("Org id", &org, OrgId::parse)? })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for OrgUserPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<OrgUserPath, ApiError> {
        let (org, id): (String, String) = decoded(parts, state, "An id").await?;
        Ok(OrgUserPath {
            org: checked("Org id", &org, OrgId::parse)?,
            id: checked("User id", &id, UserId::parse)?,
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for OrgItemPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<OrgItemPath, ApiError> {
        let (org, id): (String, String) = decoded(parts, state, "An id").await?;
        Ok(OrgItemPath { org: checked("Org id", &org, OrgId::parse)?, id })
    }
}

/// The parts of a path as text; `what` they are.
pub(super) async fn decoded<T: DeserializeOwned + Send>(
    parts: &mut Parts,
    state: &(impl Send + Sync),
    what: &str,
) -> Result<T, ApiError> {
    let path = Path::<T>::from_request_parts(parts, state).await;
    path.map(|Path(decoded)| decoded).map_err(|_| bad(format!("{what} is not UTF-8")))
}

/// One part of a path that is to be an id.
pub(super) fn checked<T>(
    what: &str,
    text: &str,
    parse: impl FnOnce(&[u8]) -> Result<T, IdError>,
) -> Result<T, ApiError> {
    parse(text.as_bytes()).map_err(|error| bad(format!("{what} {error}")))
}

fn bad(why: String) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, why)
}
