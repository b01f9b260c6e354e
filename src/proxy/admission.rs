//! Whom a caller speaks for, and the accounts that are charged: known here, or asked of the aggregator.

use crate::authn::{Caller, Credential};
use crate::live::Holders;
use crate::shard::Shard;
use monoio::time::{Duration, timeout};
use std::rc::Rc;
use std::sync::Arc;
use tokenist_core::close::Ending;
use tokenist_core::id::Identity;
use tokenist_core::key::ProviderKey;
use tokenist_handoff::{Admission, Admitted, Answer, KeyRefusal};

/// How long the aggregator may take over an unknown user.
const ADMISSION_WAIT: Duration = Duration::from_secs(5);

/// What a caller is told while reports wait for the aggregator.
const BEHIND: &str = "the ledger is behind";

/// A caller with accounts. Whether they may be used is another question.
pub(crate) struct Found {
    pub(crate) identity: Arc<Identity>,
    pub(crate) holders: Holders,
    /// What goes upstream.
    pub(crate) provider_key: ProviderKey,
}

pub(crate) async fn find(shard: &Rc<Shard>, caller: Caller) -> Result<Found, Ending> {
    if shard.is_behind() {
        return Err(Ending::Overloaded(BEHIND.into()));
    }
    let Caller { credential, user, org, feature, conversation, email, name } = caller;
    let (key, provider_key) = match credential {
        Credential::Key(key) => (key, shard.config.provider.api_key.clone()),
        Credential::Own(provider_key) => {
            let Some(user) = user else {
                return Err(Ending::Unauthorized("the x-user-id header is missing".into()));
            };
            let identity = Arc::new(Identity { user, org, feature, conversation, email, name, key: None });
            let holders = match shard.accounts.known(&identity) {
                Some(holders) => holders,
                None => holders_of(ask(shard, Admission::Identity(Arc::clone(&identity))).await?),
            };
            return Ok(Found { identity, holders, provider_key });
        }
    };
    let Some(provider_key) = provider_key else {
        return Err(Ending::Unauthorized("this proxy holds no provider key for tokenist keys".into()));
    };
    let admission =
        Admission::Key { key, user, org, feature: feature.clone(), email: email.clone(), name: name.clone() };
    let admitted = ask(shard, admission).await?;
    let (user, org) = (admitted.user_id.clone(), admitted.org_id.clone());
    let identity = Identity { user, org, feature, conversation, email, name, key: Some(key) };
    Ok(Found { identity: Arc::new(identity), holders: holders_of(admitted), provider_key })
}

fn holders_of(admitted: Admitted) -> Holders {
    let Admitted { user, org, feature, key, .. } = admitted;
    Holders { user, org, feature, key }
}

/// Asks the aggregator, who then knows the user, too.
pub(crate) async fn ask(shard: &Rc<Shard>, admission: Admission) -> Result<Admitted, Ending> {
    let send = |report| shard.links.reports.try_send(report).is_ok();
    let answer = timeout(ADMISSION_WAIT, shard.accounts.ask(shard.index, admission, send)).await;
    match answer {
        Ok(Some(Answer::Admitted(admitted))) => Ok(admitted),
        Ok(Some(Answer::KeyRefused(refusal))) => Err(Ending::Unauthorized(
            match refusal {
                KeyRefusal::Unknown => "this tokenist key is not known",
                KeyRefusal::Ended => "this tokenist key was revoked or has expired",
                KeyRefusal::Foreign => "this tokenist key speaks for users of its own organization only",
                KeyRefusal::OutOfScope => "this tokenist key is not for sessions: it lacks the scope proxy",
            }
            .into(),
        )),
        Ok(Some(Answer::UserMissing)) => Err(Ending::Unauthorized("the x-user-id header is missing".into())),
        Ok(Some(Answer::Full)) => Err(Ending::Overloaded("the ledger holds as many users as it may".into())),
        Ok(Some(Answer::Unread)) => {
            Err(Ending::Overloaded("what was used before could not be read in time".into()))
        }
        Ok(None) | Err(_) => Err(Ending::Overloaded(BEHIND.into())),
    }
}
