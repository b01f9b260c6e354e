//! Logins, and their sessions.

use crate::account;
use crate::dto::ApiKey;
use crate::fields::{Fields, FromFields};
use crate::login::{Login, Role};
use crate::password::is_guessed_first;
use crate::tier::Tier;
use serde::Serialize;
use std::borrow::Cow;
use tokenist_core::id::{self, OrgId};
use utoipa::{IntoParams, ToSchema};

/// Who the credential of a request is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Me {
    /// Null for the operator's token and for keys.
    #[schema(required)]
    pub(crate) user_id: Option<String>,
    #[schema(required)]
    pub(crate) email: Option<String>,
    #[schema(required)]
    pub(crate) display_name: Option<String>,
    /// Of a member: whose keys and usage it sees.
    #[schema(required)]
    pub(crate) org_id: Option<String>,
    /// Of that org.
    pub(crate) tier: Tier,
    pub(crate) role: RoleName,
}

/// A member sees the usage of its org and makes keys for it, a viewer reads, an operator changes everything but logins,
/// an owner changes these as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RoleName {
    Member,
    Viewer,
    Operator,
    Owner,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LoginBody {
    pub(crate) id: String,
    email: String,
    #[schema(required)]
    display_name: Option<String>,
    role: RoleName,
    /// Of a member: whose keys and usage it sees.
    #[schema(required)]
    org_id: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LoginList {
    pub(crate) logins: Vec<LoginBody>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LoginReply {
    pub(crate) success: bool,
    #[serde(flatten)]
    pub(crate) keys: MadeKeys,
}

/// A login as it is now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChangedLogin {
    #[serde(flatten)]
    pub(crate) login: LoginBody,
    #[serde(flatten)]
    pub(crate) keys: MadeKeys,
}

/// What became of the keys that a login has made, where it was removed or its role or password has changed.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MadeKeys {
    /// Ended: the login may make no such keys any more. Absent: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub(crate) keys_ended: Vec<ApiKey>,
    /// Still valid, and perhaps known to whoever had the login: `DELETE /auth/api-keys/:id` ends one. Absent: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub(crate) keys_left: Vec<ApiKey>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionsReply {
    pub(crate) success: bool,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SigningKeyReply {
    pub(crate) success: bool,
    #[schema(format = DateTime)]
    pub(crate) rotated_at: String,
}

#[derive(Debug, Default, ToSchema)]
pub(crate) struct SignOutRequest {
    /// Ends all sessions of this login, or all that were begun with the operator's token.
    #[schema(nullable = false, required = false, default = false)]
    pub(crate) everywhere: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SignedIn {
    pub(crate) user: Me,
    /// A bearer token, good for seven days.
    pub(crate) token: String,
}

/// The operator's token, for a session in a browser.
#[derive(Debug, ToSchema)]
pub(crate) struct TokenRequest {
    pub(crate) token: String,
}

#[derive(Debug, ToSchema)]
pub(crate) struct SignInRequest {
    pub(crate) email: String,
    pub(crate) password: String,
}

#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct LoginRequest {
    #[schema(min_length = 3, max_length = 254)]
    pub(crate) email: String,
    #[schema(min_length = 8, max_length = 256)]
    pub(crate) password: String,
    #[schema(value_type = RoleName)]
    pub(crate) role: Role,
    #[schema(nullable = false, min_length = 1, max_length = 100)]
    pub(crate) display_name: Option<String>,
    /// For a member; one of its own if absent.
    #[schema(value_type = String, nullable = false, required = false)]
    pub(crate) org_id: Option<OrgId>,
}

/// An account, for whoever asks.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct RegisterRequest {
    #[schema(value_type = String, min_length = 3, max_length = 254)]
    pub(crate) email: Option<String>,
    #[schema(value_type = String, min_length = 8, max_length = 256)]
    pub(crate) password: Option<String>,
    #[schema(nullable = false, min_length = 1, max_length = 100)]
    pub(crate) display_name: Option<String>,
    /// `org_<userId>` if absent. One that something is known of is refused.
    #[schema(value_type = String, nullable = false, required = false)]
    pub(crate) org_id: Option<OrgId>,
}

/// What is absent stays as it is.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct LoginChange {
    #[schema(nullable = false, min_length = 8, max_length = 256)]
    pub(crate) password: Option<String>,
    #[schema(value_type = RoleName, nullable = false, required = false)]
    pub(crate) role: Option<Role>,
    #[schema(nullable = false, min_length = 1, max_length = 100)]
    pub(crate) display_name: Option<String>,
}

/// The login that a path names.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "read by the description alone")]
pub(crate) struct LoginPath {
    /// The login's id.
    id: String,
}

const ROLES: [(&str, Role); 4] = [
    ("member", Role::Member),
    ("viewer", Role::Viewer),
    ("operator", Role::Operator),
    ("owner", Role::Owner),
];
const EMAIL_BYTES_MAX: usize = 254;
const PASSWORD_CHARS: std::ops::RangeInclusive<usize> = 8..=256;

impl From<Role> for RoleName {
    fn from(role: Role) -> RoleName {
        match role {
            Role::Member => RoleName::Member,
            Role::Viewer => RoleName::Viewer,
            Role::Operator => RoleName::Operator,
            Role::Owner => RoleName::Owner,
        }
    }
}

impl LoginBody {
    pub(crate) fn of(id: &str, login: &Login) -> LoginBody {
        LoginBody {
            id: id.to_owned(),
            email: login.email.to_string(),
            display_name: login.name.as_deref().map(str::to_owned),
            role: login.role.into(),
            org_id: account::org_of(id, login).map(|org| org.to_string()),
            created_at: login.created_at.to_string(),
        }
    }
}

impl Me {
    pub(crate) fn nameless(role: Role) -> Me {
        let (user_id, email, display_name, org_id) = (None, None, None, None);
        Me { user_id, email, display_name, org_id, tier: Tier::Free, role: role.into() }
    }

    pub(crate) fn of(id: &str, login: &Login, tier: Tier) -> Me {
        Me {
            user_id: Some(id.to_owned()),
            email: Some(login.email.to_string()),
            display_name: login.name.as_deref().map(str::to_owned),
            org_id: account::org_of(id, login).map(|org| org.to_string()),
            tier,
            role: login.role.into(),
        }
    }
}

impl FromFields for TokenRequest {
    fn from_fields(fields: &mut Fields) -> Option<TokenRequest> {
        let token = fields.required("token", |fields, name| fields.text(name, 1..=512));
        Some(TokenRequest { token: token? })
    }
}

/// Whatever is missing or no text is as wrong as a wrong password.
impl FromFields for SignInRequest {
    fn from_fields(fields: &mut Fields) -> Option<SignInRequest> {
        let mut text = |name| fields.text(name, 0..=256).unwrap_or_default();
        Some(SignInRequest { email: text("email"), password: text("password") })
    }
}

impl FromFields for SignOutRequest {
    const MAY_BE_MISSING: bool = true;

    fn from_fields(fields: &mut Fields) -> Option<SignOutRequest> {
        Some(SignOutRequest { everywhere: fields.flag("everywhere").unwrap_or(false) })
    }
}

impl FromFields for LoginRequest {
    fn from_fields(fields: &mut Fields) -> Option<LoginRequest> {
        let email = fields.required("email", read_email);
        let password =
            fields.required("password", |fields, name| read_password(fields, name, email.as_deref()));
        let role = fields.required("role", |fields, name| fields.word(name, &ROLES));
        let display_name = fields.text("displayName", 1..=100);
        let org_id = fields.parsed("orgId", OrgId::parse);
        if org_id.is_some() && role.is_some_and(|role| role != Role::Member) {
            fields.issue::<()>(
                "orgId",
                "custom",
                "Only a member has an org: leave it out, or make it a member",
            );
        }
        Some(LoginRequest { email: email?, password: password?, role: role?, display_name, org_id })
    }
}

/// That email and password are there is for the handler to say, in the words that existing clients know.
impl FromFields for RegisterRequest {
    fn from_fields(fields: &mut Fields) -> Option<RegisterRequest> {
        let email = fields.has_text("email").then(|| read_email(fields, "email")).flatten();
        let has_password = fields.has_text("password");
        let password = has_password.then(|| read_password(fields, "password", email.as_deref())).flatten();
        let display_name = fields.text("displayName", 1..=100);
        let org_id = fields.parsed("orgId", OrgId::parse);
        Some(RegisterRequest { email, password, display_name, org_id })
    }
}

impl FromFields for LoginChange {
    fn from_fields(fields: &mut Fields) -> Option<LoginChange> {
        Some(LoginChange {
            password: read_password(fields, "password", None),
            role: fields.word("role", &ROLES),
            display_name: fields.text("displayName", 1..=100),
        })
    }
}

/// By the rule that all e-mail addresses are read by; to sign in with it must be one.
fn read_email(fields: &mut Fields, name: &'static str) -> Option<String> {
    let email = fields.parsed(name, |bytes| id::read_email(bytes).map(Cow::into_owned))?;
    match is_email(&email) && email.len() <= EMAIL_BYTES_MAX {
        true => Some(email),
        false => fields.issue(name, "invalid_string", "Invalid email"),
    }
}

/// One that is chosen anew. To sign in with, any will do that was chosen before.
fn read_password(fields: &mut Fields, name: &'static str, email: Option<&str>) -> Option<String> {
    let password = fields.text(name, PASSWORD_CHARS)?;
    match is_guessed_first(&password, email) {
        true => {
            fields.issue(name, "custom", "This password is one of the first that are guessed: choose another")
        }
        false => Some(password),
    }
}

/// Whether mail might be sent there: something on both sides of one `@`, no spaces.
fn is_email(text: &str) -> bool {
    let parts = text.split_once('@');
    parts.is_some_and(|(local, host)| !local.is_empty() && !host.is_empty() && !host.contains('@'))
        && !text.chars().any(|char| char.is_whitespace() || char.is_control())
}
