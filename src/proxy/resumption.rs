//! A session that goes on on another connection: by a handle that its provider has given the application.
//!
//! Start at [`join`] for a connection that shows a handle and at [`offer`] for one that is given one. What leaves the shard is a
//! hash of the handle with the user that it was given to, so another user's resumes nothing, and nobody can read it.

use crate::admission;
use crate::environment::Environment;
use crate::live::Live;
use crate::shard::Shard;
use aws_lc_rs::digest;
use std::rc::Rc;
use std::sync::Arc;
use tokenist_core::dialect::Handle;
use tokenist_core::id::Identity;
use tokenist_core::meter::Carried;
use tokenist_handoff::{HandleHash, Report};

/// Goes on with the session that the handle was given in. Where none is known, the connection begins one of its own.
pub(crate) async fn join(shard: &Rc<Shard>, live: &Live, provider: &str, handle: &Handle) {
    let Some(identity) = live.identity.get() else { return };
    let session = admission::resumed(shard, hash(identity, provider, handle)).await;
    if let Some(session) = session.filter(|session| live.join(session)) {
        tracing::debug!(session = %session.session, connection = %live.connection, "a connection resumes a session");
    }
}

/// What was stated so far is there for a connection that resumes the session; by a new handle, if there is one. While the
/// aggregator is behind it hears of none, so that what waits for it does not grow.
pub(crate) fn offer<E: Environment>(
    shard: &Shard<E>,
    live: &Live,
    provider: &str,
    handle: Option<&Handle>,
    carried: Carried,
) {
    let Some(identity) = live.identity.get() else { return };
    let session = live.share(carried);
    if let Some(handle) = handle.filter(|_| !shard.is_behind()) {
        let (handle, session) = (hash(identity, provider, handle), Arc::clone(session));
        shard.report(Report::Resumable { handle, session });
    }
}

fn hash(identity: &Identity, provider: &str, handle: &Handle) -> HandleHash {
    let org = identity.org.as_ref().map_or("", |org| org.as_str());
    let feature = identity.feature.as_ref().map_or("", |feature| feature.as_str());
    let mut digest = digest::Context::new(&digest::SHA256);
    for part in [identity.user.as_str(), org, feature, provider, handle.reveal()] {
        digest.update(&(part.len() as u64).to_le_bytes());
        digest.update(part.as_bytes());
    }
    HandleHash(digest.finish().as_ref().try_into().expect("SHA-256 gives 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_another_one_for_each_user_org_feature_and_provider() {
        let alice = Identity::of("alice".into());
        let of = |identity: &Identity, provider, text| hash(identity, provider, &Handle::new(text).unwrap());
        let first = of(&alice, "google", "h-1");
        let with_key = Identity { key: Some(tokenist_core::id::KeyHash([1; 32])), ..alice.clone() };
        assert_eq!(of(&with_key, "google", "h-1"), first, "an application may change its key");
        for (identity, provider, text) in [
            (Identity::of("bob".into()), "google", "h-1"),
            (Identity { org: Some("acme".into()), ..alice.clone() }, "google", "h-1"),
            (Identity { feature: Some("acme".into()), ..alice.clone() }, "google", "h-1"),
            (alice.clone(), "vertex", "h-1"),
            (alice, "google", "h-2"),
        ] {
            assert_ne!(of(&identity, provider, text), first, "{identity:?} {provider} {text}");
        }
    }
}
