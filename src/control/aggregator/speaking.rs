//! The user and org a key speaks for, by what the ledger knows of keys and users: `tokenist_core::authority` decides.
//!
//! Start at [`Aggregator::admit`] for sessions and at [`Aggregator::speaks_as`] for calls. It is asked within the same
//! turn in which something is done, so of two keys that name a new user at the same moment one is the first.

use super::Aggregator;
use crate::error::CommandError;
use std::borrow::Cow;
use tokenist_core::authority::{Membership, Mute, Speaker, space_of, speak};
use tokenist_core::id::{Holder, Identity, KeyHash, OrgId, UserId};
use tokenist_core::key::Key;
use tokenist_core::ledger::Full;
use tokenist_core::models::Models;
use tokenist_core::record::Record;
use tokenist_core::time::Timestamp;
use tokenist_core::verdict::Used;
use tokenist_handoff::{Admission, Answer, KeyRefusal, UserUsage};

impl Aggregator {
    pub(super) fn admit(&mut self, admission: &Admission, now: Timestamp) -> Answer {
        if let Admission::Key { key, user, .. } | Admission::Question { key, user, .. } = admission {
            let found = match self.key_for_sessions(key, now) {
                Ok(found) => found,
                Err(refusal) => return Answer::KeyRefused(refusal),
            };
            if let Err(mute) = self.speaker(found, user.as_ref(), None) {
                return Answer::KeyRefused(KeyRefusal::Mute(mute));
            }
        }
        let Some(identity) = self.identity_of(admission, now) else {
            return Answer::KeyRefused(KeyRefusal::Unknown);
        };
        let identity = identity.into_owned();
        match admission {
            Admission::Identity(_) | Admission::Key { .. } => self.admit_identity(&identity, now),
            Admission::Question { .. } | Admission::Standing(_) => self.usage_of(&identity, now),
        }
        .unwrap_or(Answer::Full)
    }

    /// The identity a session would have, or a question is about. `None` where the key opens nothing to it.
    pub(super) fn identity_of<'a>(
        &self,
        admission: &'a Admission,
        now: Timestamp,
    ) -> Option<Cow<'a, Identity>> {
        let identity = match admission {
            Admission::Identity(identity) | Admission::Standing(identity) => {
                return Some(Cow::Borrowed(identity));
            }
            Admission::Question { key, user, org } => {
                let found = self.key_for_sessions(key, now).ok()?;
                let Speaker { user, org } = self.speaker(found, user.as_ref(), org.as_ref()).ok()?;
                Identity { org, key: Some(*key), ..Identity::of(user) }
            }
            Admission::Key { key, user, org, feature, email, name } => {
                let found = self.key_for_sessions(key, now).ok()?;
                let Speaker { user, org } = self.speaker(found, user.as_ref(), org.as_ref()).ok()?;
                Identity {
                    org,
                    feature: feature.clone(),
                    email: email.clone(),
                    name: name.clone(),
                    key: Some(*key),
                    ..Identity::of(user)
                }
            }
        };
        Some(Cow::Owned(identity))
    }

    /// Whose call it is that is told of with these words: what the key says that it came with, if it came with one.
    pub(super) fn speaks_as(&self, said: &Identity) -> Result<Identity, CommandError> {
        let Some(hash) = &said.key else { return Ok(said.clone()) };
        let key = self.ledger.key(hash).ok_or(CommandError::Mute(Mute::Foreign))?;
        let Speaker { user, org } =
            self.speaker(key, Some(&said.user), said.org.as_ref()).map_err(CommandError::Mute)?;
        if said.org.is_some() && said.org != org {
            return Err(CommandError::Mute(Mute::OtherOrg));
        }
        Ok(Identity { user, org, ..said.clone() })
    }

    /// No holder becomes known by a question.
    fn usage_of(&mut self, identity: &Identity, now: Timestamp) -> Result<Answer, Full> {
        let user_id = identity.user.clone();
        let holder = Holder::User(user_id.clone());
        let models = self.models_of(identity);
        let (record, under_way) = match self.visitor(&holder) {
            Some(record) => (record, Used::default()),
            None => {
                let (slot, _) = self.receive(&holder, now)?;
                let record = self.ledger.record(slot);
                (record, self.accounts.under_way(slot, record.applied()))
            }
        };
        let key = identity.key.as_ref().and_then(|key| self.ledger.key(key));
        let is_of_space = key.is_some_and(|key| space_of(key).is_some());
        let shown_id = if is_of_space { user_id.bare() } else { user_id.as_str() }.into();
        let (state, used) = (record.account_state().clone(), record.counted().plus(under_way));
        Ok(Answer::Usage(Box::new(UserUsage { user_id, shown_id, state, used, models })))
    }

    /// The lists of models that bind these holders.
    fn models_of(&self, identity: &Identity) -> Vec<Models> {
        let of_record = |record: &Record| record.account_state().limit.models.clone();
        let of_holder = |holder: Holder| match self.ledger.find(&holder) {
            Some(slot) => Some(of_record(self.ledger.record(slot))),
            None => self.visitor(&holder).map(of_record),
        };
        identity.holders().filter_map(of_holder).filter(|models| !models.is_any()).collect()
    }

    fn key_for_sessions(&self, hash: &KeyHash, now: Timestamp) -> Result<&Key, KeyRefusal> {
        match self.ledger.key(hash) {
            None => Err(KeyRefusal::Unknown),
            Some(key) if !key.holds_at(now) => Err(KeyRefusal::Ended),
            Some(key) if !key.scopes.proxy => Err(KeyRefusal::OutOfScope),
            Some(key) => Ok(key),
        }
    }

    fn speaker(&self, key: &Key, user: Option<&UserId>, org: Option<&OrgId>) -> Result<Speaker, Mute> {
        speak(key, user, org, |user| self.membership(user))
    }

    pub(super) fn membership(&self, user: &UserId) -> Membership<'_> {
        let holder = Holder::User(user.clone());
        match (self.ledger.find(&holder), self.visitor(&holder)) {
            // A stranger whose sessions came to nothing is not known.
            (Some(slot), _) if self.ledger.is_stranger(slot) && !self.accounts.is_held(slot) => {
                Membership::New
            }
            (Some(slot), _) => self.ledger.membership(slot),
            (None, Some(record)) => record.profile.member_of().map_or(Membership::Nowhere, Membership::Of),
            (None, None) => Membership::New,
        }
    }
}
