//! Sessions of logins: what their tokens say, what these are signed with, and how they end before their time.
//!
//! A token is a JWT (HS256, seven days), sent as a bearer or as a cookie. It names whose session it is and nothing else:
//! what its holder may do is looked up with every request, so a changed role or password holds at once. What ends
//! sessions is kept in the catalog, so it holds on every instance and over restarts:
//! - the [`SigningKey`], which is random and none of the operator's secrets: a new one ends all of them;
//! - how often a login has signed out [`Everywhere`], which each token repeats;
//! - which of a login's sessions were [`SignedOut`] one by one.

use crate::error::ApiError;
use crate::operator_token::OperatorToken;
use crate::{now, random};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::Arc;
use tokenist_control::handle::Handle;
use tokenist_core::catalog::Kept;
use tokenist_core::time::{DAY_MS, SECOND_MS, Timestamp};
use tokio::sync::Mutex;

/// What tokens are signed with, made when it is first needed. Of two that instances made at the same moment the later
/// one holds, and sessions signed by the other begin anew.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct SigningKey {
    /// 64 hexadecimal digits.
    secret: Arc<str>,
    pub(crate) made_at: Timestamp,
}

impl Kept for SigningKey {
    const KIND: &'static str = "signing_key";

    fn org<'a>(&'a self, _: &'a str) -> Option<&'a str> {
        None
    }
}

/// Whose session it is. Kept under the login's id, or [`OPERATOR`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// The operator, by its token.
    Operator,
    Login {
        id: Arc<str>,
        /// Of its password.
        epoch: u32,
    },
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) holder: Holder,
    pub(crate) id: Arc<str>,
    /// How often the holder had signed out everywhere when it began.
    round: u32,
    pub(crate) ends_at: Timestamp,
}

/// How often a login has signed out everywhere. Apart from [`SignedOut`], because of two that are set at the same moment
/// on two instances the later one holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Everywhere {
    round: u32,
}

impl Kept for Everywhere {
    const KIND: &'static str = "sign_out_everywhere";

    fn org<'a>(&'a self, _: &'a str) -> Option<&'a str> {
        None
    }
}

/// A login's sessions that were ended one by one and have not run out since, at most [`SIGNED_OUT_MAX`]. Of two that end
/// on two instances before these have heard of each other the earlier one may live on until it runs out; the browser
/// that ended it has no cookie any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SignedOut {
    sessions: Vec<(Arc<str>, Timestamp)>,
}

impl Kept for SignedOut {
    const KIND: &'static str = "signed_out";

    fn org<'a>(&'a self, _: &'a str) -> Option<&'a str> {
        None
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    sub: Arc<str>,
    jti: Arc<str>,
    epoch: u32,
    round: u32,
    iat: u64,
    exp: u64,
}

impl SigningKey {
    fn generate(now: Timestamp) -> SigningKey {
        SigningKey { secret: random::secret().into(), made_at: now }
    }

    fn sign(&self, session: &Session, operator: &OperatorToken, now: Timestamp) -> String {
        let (sub, epoch) = match &session.holder {
            Holder::Operator => (OPERATOR.into(), self.seal(operator)),
            Holder::Login { id, epoch } => (Arc::clone(id), *epoch),
        };
        let Session { id, round, ends_at, .. } = session;
        let (iat, exp) = (now.0 / SECOND_MS, ends_at.0 / SECOND_MS);
        let claims = Claims { sub, jti: Arc::clone(id), epoch, round: *round, iat, exp };
        let key = EncodingKey::from_secret(self.secret.as_bytes());
        jsonwebtoken::encode(&Header::default(), &claims, &key).expect("claims are plain values")
    }

    /// `None`: not signed with this key, altered, or over; or the operator's token was another one.
    pub(crate) fn read(&self, token: &str, operator: &OperatorToken) -> Option<Session> {
        let key = DecodingKey::from_secret(self.secret.as_bytes());
        let claims = jsonwebtoken::decode::<Claims>(token, &key, &Validation::new(Algorithm::HS256));
        let Claims { sub, jti, epoch, round, exp, .. } = claims.ok()?.claims;
        let holder = match &*sub {
            OPERATOR if epoch == self.seal(operator) => Holder::Operator,
            OPERATOR => return None,
            _ => Holder::Login { id: sub, epoch },
        };
        Some(Session { holder, id: jti, round, ends_at: Timestamp(exp.saturating_mul(SECOND_MS)) })
    }

    /// Tells one operator's token from another to a holder of the key, and to no other.
    fn seal(&self, operator: &OperatorToken) -> u32 {
        let secret = self.secret.as_bytes();
        let hash = Sha256::new().chain_update(secret).chain_update("operator").chain_update(operator.hash());
        let hash: [u8; 32] = hash.finalize().into();
        u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("made_at", &self.made_at).finish_non_exhaustive()
    }
}

impl Holder {
    pub(crate) fn name(&self) -> &str {
        match self {
            Holder::Operator => OPERATOR,
            Holder::Login { id, .. } => id,
        }
    }
}

impl SignedOut {
    /// False: there are so many that they cannot be told one by one any more.
    fn add(&mut self, session: &Session, now: Timestamp) -> bool {
        // Tokens are believed for a minute longer, for the sake of clocks that differ.
        self.sessions.retain(|(_, end)| end.plus_ms(LEEWAY_MS) > now);
        if !self.sessions.iter().any(|(id, _)| *id == session.id) {
            self.sessions.push((Arc::clone(&session.id), session.ends_at));
        }
        self.sessions.len() <= SIGNED_OUT_MAX
    }
}

/// The key in force, if sessions were ever begun.
pub(crate) async fn signing_key(handle: &Handle) -> Result<Option<SigningKey>, ApiError> {
    Ok(handle.entry::<SigningKey>(IN_FORCE).await?)
}

/// Whether it was ended before its time.
pub(crate) async fn is_over(handle: &Handle, session: &Session) -> Result<bool, ApiError> {
    let name = session.holder.name();
    let (everywhere, signed_out) =
        tokio::try_join!(handle.entry::<Everywhere>(name), handle.entry::<SignedOut>(name))?;
    let signed_out = signed_out.unwrap_or_default();
    Ok(session.round != everywhere.unwrap_or_default().round
        || signed_out.sessions.iter().any(|(id, _)| *id == session.id))
}

/// Begins sessions and ends them, one change at a time.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    changes: Mutex<()>,
}

impl Sessions {
    /// A new session's token.
    pub(crate) async fn begin(
        &self,
        handle: &Handle,
        holder: Holder,
        operator: &OperatorToken,
    ) -> Result<String, ApiError> {
        let _alone = self.changes.lock().await;
        let now = now();
        let key = match signing_key(handle).await? {
            Some(key) => key,
            None => renew(handle, now).await?,
        };
        let everywhere = handle.entry::<Everywhere>(holder.name()).await?.unwrap_or_default();
        let ends_at = now.plus_ms(TOKEN_SECONDS * SECOND_MS);
        let session = Session { holder, id: random::id("").into(), round: everywhere.round, ends_at };
        Ok(key.sign(&session, operator, now))
    }

    /// Ends this one.
    pub(crate) async fn end(&self, handle: &Handle, session: &Session) -> Result<(), ApiError> {
        let _alone = self.changes.lock().await;
        let name = session.holder.name();
        let mut signed_out = handle.entry::<SignedOut>(name).await?.unwrap_or_default();
        if signed_out.add(session, now()) {
            return Ok(handle.set_entry(name, Some(&signed_out)).await?);
        }
        end_all(handle, name).await
    }

    /// Ends all of a login's, or of the [`OPERATOR`]'s.
    pub(crate) async fn end_all(&self, handle: &Handle, name: &str) -> Result<(), ApiError> {
        let _alone = self.changes.lock().await;
        end_all(handle, name).await
    }

    /// Ends all sessions: what they were signed with is replaced.
    pub(crate) async fn end_everybodys(&self, handle: &Handle) -> Result<SigningKey, ApiError> {
        let _alone = self.changes.lock().await;
        renew(handle, now()).await
    }
}

async fn renew(handle: &Handle, now: Timestamp) -> Result<SigningKey, ApiError> {
    let key = SigningKey::generate(now);
    handle.set_entry(IN_FORCE, Some(&key)).await?;
    Ok(key)
}

/// Those that were ended one by one are among them.
async fn end_all(handle: &Handle, name: &str) -> Result<(), ApiError> {
    let Everywhere { round } = handle.entry(name).await?.unwrap_or_default();
    handle.set_entry(name, Some(&Everywhere { round: round.wrapping_add(1) })).await?;
    if handle.entry::<SignedOut>(name).await?.is_some() {
        handle.set_entry::<SignedOut>(name, None).await?;
    }
    Ok(())
}

/// Forgets how a login's sessions ended; call it once there is no such login.
pub(crate) async fn forget(handle: &Handle, login: &str) -> Result<(), ApiError> {
    if handle.entry::<Everywhere>(login).await?.is_some() {
        handle.set_entry::<Everywhere>(login, None).await?;
    }
    if handle.entry::<SignedOut>(login).await?.is_some() {
        handle.set_entry::<SignedOut>(login, None).await?;
    }
    Ok(())
}

/// How long a session lasts.
pub(crate) const TOKEN_SECONDS: u64 = 7 * DAY_MS / SECOND_MS;
/// The name under which the operator's token signs in.
pub(crate) const OPERATOR: &str = "operator";
const IN_FORCE: &str = "in_force";
/// Past it the next sign-out is one everywhere.
const SIGNED_OUT_MAX: usize = 256;
const LEEWAY_MS: u64 = 60 * SECOND_MS;

#[cfg(test)]
mod tests {
    use super::*;

    fn session(holder: Holder, id: &str, ends_at: Timestamp) -> Session {
        Session { holder, id: id.into(), round: 7, ends_at }
    }

    fn operator(text: &str) -> OperatorToken {
        OperatorToken::parse(text).unwrap()
    }

    #[test]
    fn a_token_says_what_was_signed_until_it_is_over_or_another_key_is_in_force() {
        let (ours, theirs) = (SigningKey::generate(now()), SigningKey::generate(now()));
        let (token, other) = (operator("correct-horse-battery"), operator("wrong-horse-battery!"));
        let soon = Timestamp(now().0 / SECOND_MS * SECOND_MS + DAY_MS);
        for holder in [Holder::Operator, Holder::Login { id: "login_1".into(), epoch: 3 }] {
            let begun = session(holder.clone(), "s1", soon);
            let text = ours.sign(&begun, &token, now());
            assert_eq!(ours.read(&text, &token), Some(begun.clone()));
            assert_eq!(theirs.read(&text, &token), None);
            let is_operators = holder == Holder::Operator;
            assert_eq!(
                ours.read(&text, &other).is_none(),
                is_operators,
                "the operator's alone name the token"
            );
            let over = Session { ends_at: now().minus_ms(2 * LEEWAY_MS), ..begun };
            assert_eq!(ours.read(&ours.sign(&over, &token, now()), &token), None);
            let (head, rest) = text.split_once('.').unwrap();
            assert_eq!(ours.read(&format!("{head}.{}", rest.replacen('e', "f", 1)), &token), None);
        }
        // `{"alg":"none"}`
        assert_eq!(ours.read("eyJhbGciOiJub25lIn0.eyJzdWIiOiJvcGVyYXRvciJ9.", &token), None);
        assert!(!format!("{ours:?}").contains(&ours.secret[..8]));
    }

    #[test]
    fn what_was_signed_out_is_remembered_until_its_token_has_run_out() {
        let mut signed_out = SignedOut::default();
        let at = |second: u64| Timestamp(1_795_478_400_000 + second * SECOND_MS);
        let ended = |n: u64| session(Holder::Operator, &format!("s{n}"), at(1_000 + n));
        for n in 0..SIGNED_OUT_MAX as u64 {
            assert!(signed_out.add(&ended(n), at(0)) && signed_out.add(&ended(n), at(0)), "once is enough");
        }
        let mut full = signed_out.clone();
        assert!(!full.add(&ended(9_000), at(0)), "one more is too many");
        // Tokens are believed for a minute after their end.
        assert!(!signed_out.clone().add(&ended(9_000), at(1_000 + 59)));
        assert!(signed_out.add(&ended(9_000), at(1_000 + 61)));
        assert_eq!(signed_out.sessions.len(), SIGNED_OUT_MAX - 1);
    }
}
