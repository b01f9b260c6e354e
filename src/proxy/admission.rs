//! Whom a caller speaks for, and the accounts that are charged: known here, or asked of the aggregator.

use crate::authn::{Caller, Credential};
use crate::holders::Holders;
use crate::shard::Shard;
use monoio::time::{Duration, timeout};
use std::rc::Rc;
use std::sync::Arc;
use tokenist_core::authority::Mute;
use tokenist_core::browser_token::{Claims, TokenFault};
use tokenist_core::close_reason::CloseReason;
use tokenist_core::id::{Identity, UserId};
use tokenist_core::kept_response::ResponseId;
use tokenist_core::key::ProviderKey;
use tokenist_handoff::{
    Admission, Admitted, Answer, CallOwner, FoundResponse, HandleHash, KeyRefusal, Report, Resumable, Shown,
    ShownToken, UserUsage,
};

/// How long the aggregator may take over an unknown user.
const ADMISSION_WAIT: Duration = Duration::from_secs(5);

/// What a caller is told while reports wait for the aggregator.
const BEHIND: &str = "the ledger is behind";

/// A caller with accounts. Whether they may be used is another question.
pub(crate) struct Found {
    pub(crate) identity: Arc<Identity>,
    pub(crate) holders: Holders,
    /// The caller's own key for the provider; without one the operator's goes upstream.
    pub(crate) own_key: Option<ProviderKey>,
}

/// A tokenist key, at a provider for which the operator has set no key.
pub(crate) fn no_key(provider: &str) -> CloseReason {
    let why = format!(
        "a tokenist key opens nothing at {provider}: its operator has set no key for that provider here"
    );
    CloseReason::Unauthorized(why.into())
}

pub(crate) async fn find(shard: &Rc<Shard>, caller: Caller) -> Result<Found, CloseReason> {
    if shard.is_behind() {
        return Err(CloseReason::Overloaded(BEHIND.into()));
    }
    let Caller { credential, user, org, feature, conversation, email, name } = caller;
    let (key, own_key) = match &credential {
        Credential::Key(key) => (Some(*key), None),
        Credential::Own(own_key) => (None, Some(own_key.clone())),
        Credential::Token(claims) => {
            show(shard, claims, None).await?;
            (claims.key, None)
        }
    };
    let Some(key) = key else {
        let Some(user) = user else {
            return Err(CloseReason::Unauthorized("the x-user-id header is missing".into()));
        };
        let identity = Arc::new(Identity { user, org, feature, conversation, email, name, key: None });
        let holders = match shard.accounts.known(&identity) {
            Some(holders) => holders,
            None => holders_of(ask(shard, Admission::Identity(Arc::clone(&identity))).await?),
        };
        return Ok(Found { identity, holders, own_key });
    };
    let admission =
        Admission::Key { key, user, org, feature: feature.clone(), email: email.clone(), name: name.clone() };
    let is_token = matches!(credential, Credential::Token(_));
    let admitted = match answer(shard, admission).await? {
        Answer::Admitted(admitted) => admitted,
        Answer::KeyRefused(KeyRefusal::Unknown | KeyRefusal::Ended) if is_token => {
            return Err(CloseReason::Token(TokenFault::KeyEnded));
        }
        other => return Err(refusal(&other)),
    };
    let (user, org) = (admitted.user_id.clone(), admitted.org_id.clone());
    let identity = Identity { user, org, feature, conversation, email, name, key: Some(key) };
    Ok(Found { identity: Arc::new(identity), holders: holders_of(admitted), own_key: None })
}

fn holders_of(admitted: Admitted) -> Holders {
    let Admitted { user, org, feature, key, .. } = admitted;
    Holders { user, org, feature, key }
}

/// How the user stands whom a question is about. Nothing changes by it.
pub(crate) async fn user_usage(shard: &Rc<Shard>, question: Admission) -> Result<UserUsage, CloseReason> {
    match answer(shard, question).await? {
        Answer::Usage(usage) => Ok(*usage),
        other => Err(refusal(&other)),
    }
}

/// Has the aggregator look whether a token was revoked, and count one more session where it opens so many and no more.
pub(crate) async fn show(shard: &Rc<Shard>, claims: &Claims, uses: Option<u32>) -> Result<(), CloseReason> {
    let token = ShownToken { id: claims.id.clone(), uses, until: claims.last_moment() };
    let answer = put(shard, |ticket| Report::Show { shard: shard.index, ticket, token }).await;
    match answer.ok_or_else(|| CloseReason::Overloaded(BEHIND.into()))? {
        Answer::Shown(Shown::Good) => Ok(()),
        Answer::Shown(Shown::Revoked) => Err(CloseReason::Token(TokenFault::Revoked)),
        Answer::Shown(Shown::UsedUp) => Err(CloseReason::Token(TokenFault::UsedUp)),
        Answer::Shown(Shown::Full) => {
            Err(CloseReason::Overloaded("more tokens are counted than may be".into()))
        }
        other => Err(refusal(&other)),
    }
}

/// What is known of a response that a provider keeps.
pub(crate) async fn find_response(
    shard: &Rc<Shard>,
    response: ResponseId,
    user: UserId,
) -> Result<FoundResponse, CloseReason> {
    match put(shard, |ticket| Report::Find { shard: shard.index, ticket, response, user }).await {
        Some(Answer::Response(found)) => Ok(found),
        _ => Err(CloseReason::Overloaded(BEHIND.into())),
    }
}

/// Whose a call is that was begun here. `None`: it was begun elsewhere, or is over.
pub(crate) async fn find_call(shard: &Rc<Shard>, call: &str) -> Result<Option<Arc<CallOwner>>, CloseReason> {
    let call = Arc::from(call);
    match put(shard, |ticket| Report::FindCall { shard: shard.index, ticket, call }).await {
        Some(Answer::Call(owner)) => Ok(owner),
        _ => Err(CloseReason::Overloaded(BEHIND.into())),
    }
}

/// Whether somebody may attach to a call, or steer it, with the operator's key: its user, and who belongs to that one's org.
pub(crate) fn may_join(asking: &Identity, owner: &CallOwner) -> bool {
    let is_of_org = asking.key.is_some() && asking.org.is_some() && asking.org == owner.org;
    asking.user == owner.user || is_of_org
}

/// Asks the aggregator, who then knows the user, too.
async fn ask(shard: &Rc<Shard>, admission: Admission) -> Result<Admitted, CloseReason> {
    match answer(shard, admission).await? {
        Answer::Admitted(admitted) => Ok(admitted),
        other => Err(refusal(&other)),
    }
}

/// The session that a handle resumes, if the aggregator knows it and answers.
pub(crate) async fn resumed(shard: &Rc<Shard>, handle: HandleHash) -> Option<Arc<Resumable>> {
    match put(shard, |ticket| Report::Resume { shard: shard.index, ticket, handle }).await? {
        Answer::Resumed(session) => session,
        _ => None,
    }
}

async fn answer(shard: &Rc<Shard>, admission: Admission) -> Result<Answer, CloseReason> {
    let answer = put(shard, |ticket| Report::Admit { shard: shard.index, ticket, admission }).await;
    answer.ok_or_else(|| CloseReason::Overloaded(BEHIND.into()))
}

/// Puts a question to the aggregator. `None`: it is behind.
async fn put(shard: &Rc<Shard>, question: impl FnOnce(u64) -> Report) -> Option<Answer> {
    let ask = shard.accounts.ask(question, |report| shard.ask(report));
    Box::pin(timeout(ADMISSION_WAIT, ask)).await.ok().flatten()
}

/// Why an answer is not the one that was asked for.
fn refusal(answer: &Answer) -> CloseReason {
    match answer {
        Answer::KeyRefused(KeyRefusal::Mute(Mute::UserMissing)) => {
            CloseReason::Unauthorized("the x-user-id header is missing".into())
        }
        Answer::KeyRefused(refusal) => CloseReason::Unauthorized(
            match refusal {
                KeyRefusal::Unknown => "this tokenist key is not known",
                KeyRefusal::Ended => "this tokenist key was revoked or has expired",
                KeyRefusal::OutOfScope => "this tokenist key is not for sessions: it lacks the scope proxy",
                KeyRefusal::Mute(mute) => return CloseReason::Unauthorized(mute.to_string().into()),
            }
            .into(),
        ),
        Answer::Full => CloseReason::Overloaded("the ledger holds as many users as it may".into()),
        Answer::Unread => CloseReason::Overloaded("what was used before could not be read in time".into()),
        Answer::Admitted(_)
        | Answer::Usage(_)
        | Answer::Resumed(_)
        | Answer::Shown(_)
        | Answer::Response(_)
        | Answer::Call(_) => {
            unreachable!("the aggregator answers what it was asked")
        }
    }
}
