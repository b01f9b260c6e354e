//! Tokenist keys. A key itself is in an answer once, when it is made.

use super::{LIST_MAX, list_limit};
use crate::fields::{Fields, FromFields};
use crate::session::OPERATOR;
use crate::space::Space;
use serde::Serialize;
use std::collections::HashMap;
use std::sync::Arc;
use tokenist_core::id::{OrgId, UserId};
use tokenist_core::key::{Key, Maker, Scopes};
use tokenist_core::time::{DAY_MS, SECOND_MS, Timestamp};
use utoipa::{IntoParams, ToSchema};

/// What a key opens: sessions through the proxy, the `/sdk` routes, or everything.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scope {
    Proxy,
    Sdk,
    Admin,
}

#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct KeyRequest {
    #[schema(min_length = 1, max_length = 100)]
    pub(crate) name: String,
    /// `proxy` and `sdk` if absent. A key with `admin` cannot be bound to a user or org.
    #[schema(value_type = Vec<Scope>, nullable = false, required = false)]
    pub(crate) scopes: Scopes,
    /// Whom the key speaks for. If absent, each request names its user.
    #[schema(value_type = String, nullable = false, required = false)]
    pub(crate) user_id: Option<UserId>,
    /// The org that everything under this key counts for.
    #[schema(value_type = String, nullable = false, required = false)]
    pub(crate) org_id: Option<OrgId>,
    /// If absent, the key lasts until it is revoked.
    #[schema(value_type = String, nullable = false, required = false, format = DateTime)]
    pub(crate) expires_at: Option<Timestamp>,
}

#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct RotateRequest {
    /// How long the keys of before open on, in seconds; at most 30 days.
    #[schema(value_type = u64, nullable = false, required = false, default = 0, maximum = 2_592_000)]
    pub(crate) grace_seconds: u64,
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct KeysQuery {
    /// Only keys that are bound to this user.
    #[param(value_type = Option<String>, nullable = false)]
    pub(crate) user_id: Option<UserId>,
    /// Only keys that were made by this login, or with a key of its making; `operator`: by the operator's token.
    #[param(nullable = false)]
    pub(crate) maker: Option<String>,
    /// Also keys that have been revoked or have expired.
    #[param(value_type = Option<bool>, nullable = false, default = false)]
    pub(crate) ended: bool,
    /// At most this many keys.
    #[param(nullable = false, minimum = 1, maximum = 10_000, default = 10_000)]
    pub(crate) limit: Option<usize>,
    /// Leaves out so many of the first.
    #[param(value_type = Option<usize>, nullable = false, default = 0)]
    pub(crate) offset: usize,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ApiKey {
    id: String,
    name: String,
    /// Its first 12 characters.
    key_hint: String,
    #[schema(format = DateTime)]
    created_at: String,
    /// By whose right it was made; one that was made with a key is its maker's. Null is unknown.
    #[schema(required)]
    maker: Option<KeyMaker>,
    scopes: Vec<Scope>,
    #[schema(required)]
    user_id: Option<String>,
    #[schema(required)]
    org_id: Option<String>,
    #[schema(required, format = DateTime)]
    expires_at: Option<String>,
    #[schema(required, format = DateTime)]
    revoked_at: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeyMaker {
    kind: MakerKind,
    /// The login's id.
    #[schema(required)]
    id: Option<String>,
    /// The login's; null if there is none of that id any more, or for the operator's token.
    #[schema(required)]
    email: Option<String>,
}

#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MakerKind {
    /// The operator's.
    Token,
    Login,
}

/// The emails of logins, by id.
pub(crate) type Emails = HashMap<Arc<str>, Arc<str>>;

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreatedKey {
    /// The key. Only its hash is kept: it cannot be shown again.
    pub(crate) api_key: String,
    #[serde(flatten)]
    pub(crate) key: ApiKey,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RotatedKey {
    #[serde(flatten)]
    pub(crate) created: CreatedKey,
    /// The user's keys of before, with the ends they have now.
    pub(crate) retired: Vec<ApiKey>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyList {
    /// Oldest first.
    pub(crate) keys: Vec<ApiKey>,
    /// How many there are, also where `limit` cut the list.
    pub(crate) total: usize,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyReply {
    pub(crate) success: bool,
}

impl FromFields for KeyRequest {
    fn from_fields(fields: &mut Fields) -> Option<KeyRequest> {
        let name = fields.required("name", |fields, name| fields.text(name, 1..=NAME_CHARS_MAX));
        let user_id = fields.parsed("userId", UserId::parse);
        let org_id = fields.parsed("orgId", OrgId::parse);
        let scopes = read_scopes(fields, user_id.is_some() || org_id.is_some());
        let expires_at = fields.time_to_come("expiresAt");
        Some(KeyRequest { name: name?, scopes: scopes?, user_id, org_id, expires_at })
    }
}

impl FromFields for RotateRequest {
    const MAY_BE_MISSING: bool = true;

    fn from_fields(fields: &mut Fields) -> Option<RotateRequest> {
        let grace_seconds = fields.count("graceSeconds", 0, GRACE_SECONDS_MAX).unwrap_or(0);
        Some(RotateRequest { grace_seconds })
    }
}

impl FromFields for KeysQuery {
    fn from_fields(fields: &mut Fields) -> Option<KeysQuery> {
        Some(KeysQuery {
            user_id: fields.parsed("userId", UserId::parse),
            maker: fields.text("maker", 1..=100),
            ended: fields.flag("ended").unwrap_or(false),
            limit: list_limit(fields),
            offset: fields.count("offset", 0, u64::from(u32::MAX)).unwrap_or(0) as usize,
        })
    }
}

/// An admin sees every org. A key that is bound to one and could open what all share would be bound in name only.
pub(super) fn read_scopes(fields: &mut Fields, is_bound: bool) -> Option<Scopes> {
    let Some(words) = fields.words("scopes", &SCOPES) else {
        return Some(Scopes { proxy: true, sdk: true, admin: false });
    };
    let mut scopes = Scopes::default();
    for word in words {
        match word {
            Scope::Proxy => scopes.proxy = true,
            Scope::Sdk => scopes.sdk = true,
            Scope::Admin => scopes.admin = true,
        }
    }
    match scopes.admin && is_bound {
        true => fields.issue("scopes", "custom", BOUND_ADMIN),
        false => Some(scopes),
    }
}

impl KeyList {
    /// With users as the caller names them.
    pub(crate) fn of(keys: &[Key], total: usize, space: &Space, emails: &Emails) -> KeyList {
        KeyList { keys: keys.iter().map(|key| ApiKey::of(key, space, emails)).collect(), total }
    }
}

impl From<&Key> for ApiKey {
    /// As operators see it.
    fn from(key: &Key) -> ApiKey {
        ApiKey::of(key, &Space::default(), &Emails::new())
    }
}

impl ApiKey {
    /// With the user as the caller names it, and with its maker's email if that is among these.
    pub(crate) fn of(key: &Key, space: &Space, emails: &Emails) -> ApiKey {
        let Scopes { proxy, sdk, admin } = key.scopes;
        let scopes = [(proxy, Scope::Proxy), (sdk, Scope::Sdk), (admin, Scope::Admin)];
        // An account is not told which operator has made it a new one, nor the id, which follows from the email.
        let is_its_own =
            |maker: &Maker| matches!(maker, Maker::Login(id) if key.account.as_ref() == Some(id));
        let is_told = |maker: &Maker| !space.is_an_orgs() || is_its_own(maker);
        ApiKey {
            id: key.id.to_string(),
            name: key.name.to_string(),
            key_hint: key.hint.to_string(),
            created_at: key.created_at.to_string(),
            maker: key.maker().filter(is_told).map(|maker| KeyMaker::of(&maker, emails)),
            scopes: scopes.into_iter().filter(|(has, _)| *has).map(|(_, scope)| scope).collect(),
            user_id: key.user.as_ref().map(|user| space.shown(user).to_owned()),
            org_id: key.org.as_ref().map(|org| org.to_string()),
            expires_at: key.expires_at.map(|at| at.to_string()),
            revoked_at: key.revoked_at.map(|at| at.to_string()),
        }
    }
}

impl KeyMaker {
    fn of(maker: &Maker, emails: &Emails) -> KeyMaker {
        match maker {
            Maker::Operator => KeyMaker { kind: MakerKind::Token, id: None, email: None },
            Maker::Login(id) => KeyMaker {
                kind: MakerKind::Login,
                id: Some(id.to_string()),
                email: emails.get(id).map(|email| email.to_string()),
            },
        }
    }
}

impl ApiKey {
    pub(super) fn hint(&self) -> &str {
        &self.key_hint
    }
}

impl KeysQuery {
    pub(crate) fn maker(&self) -> Option<Maker> {
        self.maker.as_deref().map(|id| match id {
            OPERATOR => Maker::Operator,
            id => Maker::Login(id.into()),
        })
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit.unwrap_or(LIST_MAX)
    }
}

impl RotateRequest {
    /// When the keys of before end. Without a grace they have ended whatever the ledger's clock says, which may be a
    /// moment behind this one.
    pub(crate) fn end(&self, now: Timestamp) -> Timestamp {
        match self.grace_seconds {
            0 => Timestamp(0),
            seconds => now.plus_ms(seconds * SECOND_MS),
        }
    }
}

/// What a key is called that a user was given without a name.
pub(crate) fn key_name(user: &UserId) -> Arc<str> {
    user.as_str().chars().take(NAME_CHARS_MAX).collect::<String>().into()
}

const SCOPES: [(&str, Scope); 3] = [("proxy", Scope::Proxy), ("sdk", Scope::Sdk), ("admin", Scope::Admin)];
const BOUND_ADMIN: &str = "A key with the admin scope opens every org, so it cannot be bound to a user or an org: \
    leave out userId and orgId, or the scope";
const NAME_CHARS_MAX: usize = 100;
const GRACE_SECONDS_MAX: u64 = 30 * DAY_MS / SECOND_MS;
