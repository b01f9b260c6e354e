//! Browsers' tokens (`ek_…`) as this process signs and reads them, and what one binds a session to.
//!
//! Whatever instances share the operator's token read each other's; how often one was used each counts for itself.

use aws_lc_rs::{hkdf, hmac, rand};
use std::fmt;
use tokenist_core::browser_token::{self, Bounds, CODE_BYTES, Claims, Opens, TokenFault, TokenId};
use tokenist_core::close_reason::CloseReason;
use tokenist_core::models::{Models, Pattern};
use tokenist_core::time::Timestamp;

/// What signs tokens and tells those that were signed so.
pub struct Signer {
    key: hmac::Key,
    /// This process among all that sign so.
    run: u64,
    started_at: Timestamp,
}

impl Signer {
    /// The key follows from the operator's token and leads back to nothing, if that was random: whoever has a token of a page
    /// could try out every operator's token that can be guessed.
    pub fn of(operator_token: &str, started_at: Timestamp) -> Signer {
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, b"tokenist").extract(operator_token.as_bytes());
        let key = root.expand(&[b"browser tokens"], hmac::HMAC_SHA256).expect("a key is as long as its hash");
        Signer { key: key.into(), run: random(), started_at }
    }

    pub(crate) fn run(&self) -> u64 {
        self.run
    }

    /// Whether this process knows how often a token was used.
    pub(crate) fn can_count(&self, claims: &Claims) -> bool {
        claims.is_countable(self.run, self.started_at)
    }

    pub(crate) fn write(&self, claims: &Claims) -> String {
        claims.write(|said| {
            let code = hmac::sign(&self.key, said);
            <[u8; CODE_BYTES]>::try_from(code.as_ref()).expect("SHA-256 gives 32 bytes")
        })
    }

    /// What a token says that is in time.
    pub(crate) fn read(&self, token: &str, now: Timestamp) -> Result<Claims, TokenFault> {
        let claims = Claims::read(token, |said, code| hmac::verify(&self.key, said, code).is_ok())?;
        claims.check_time(now).map(|()| claims)
    }
}

/// Never shows the key.
impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({:016x})", self.run)
    }
}

/// A name for a new token.
pub(crate) fn name() -> TokenId {
    format!("{:016x}", random()).as_str().into()
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    rand::fill(&mut bytes).expect("the system has randomness");
    u64::from_le_bytes(bytes)
}

/// The token that a session was opened with, and what it binds it to.
#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) claims: Claims,
    /// What the page's events have to keep to; `None` where its settings are its own.
    pub(crate) bounds: Option<Bounds>,
}

impl Binding {
    pub(crate) fn new(claims: Claims) -> Binding {
        let bounds = claims.session.as_deref().map(Bounds::of);
        Binding { claims, bounds }
    }

    /// Whether its sessions are to have ended.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        self.claims.ends_at.is_some() && self.claims.check_time(now).is_err()
    }

    /// Why an event of a page may not go on, if it may not.
    pub(crate) fn refuses(&self, event: &[u8]) -> Option<CloseReason> {
        self.bounds.as_ref()?.check(event).err().map(beyond)
    }

    /// The list of the one model that its session may use.
    pub(crate) fn models(&self) -> Option<Models> {
        self.claims.model.as_ref().map(|model| Models::from_iter([Pattern::Name(model.to_string())]))
    }

    /// The path at the provider: of a token's sessions Google has one of its own, which takes no key.
    pub(crate) fn path<'a>(&self, path: &'a str) -> &'a str {
        match self.claims.opens {
            Opens::Gemini => path.strip_suffix("Constrained").unwrap_or(path),
            Opens::Realtime | Opens::Transcription | Opens::Translation | Opens::Live => path,
        }
    }

    /// The event that gives the provider the token's settings.
    pub(crate) fn prelude(&self) -> Option<String> {
        browser_token::prelude(self.claims.opens, self.claims.session.as_deref()?)
    }
}

pub(crate) fn beyond(what: String) -> CloseReason {
    CloseReason::BeyondToken { what }
}
