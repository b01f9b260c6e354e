//! Calls that did not pass through a session: judged before they are made, and counted as a shard would count them.

use super::Aggregator;
use crate::error::CommandError;
use crate::view::{Call, Judged};
use std::sync::Arc;
use tokenist_core::close_reason::CloseReason;
use tokenist_core::id::{Holder, Identity, Model};
use tokenist_core::ledger::Full;
use tokenist_core::message::Rejected;
use tokenist_core::refusal::RefusalReason;
use tokenist_core::time::Timestamp;
use tokenist_core::verdict::{Remaining, Verdict, judge, judge_model};
use tokenist_handoff::Charge;

impl Aggregator {
    /// Counts a call that did not pass through a session, as a shard would: the accounts are charged first. One that was
    /// counted before is only judged.
    pub fn record(&mut self, call: Call, now: Timestamp) -> Result<Judged, CommandError> {
        let Call { mut delta, mut log, ids } = call;
        let identity = Arc::new(self.speaks_as(&delta.identity)?);
        delta.identity = Arc::clone(&identity);
        if let Some(log) = &mut log {
            log.identity = Arc::clone(&identity);
        }
        let call = Call { delta, log, ids };
        let charge = Charge {
            cost: call.delta.cost,
            tokens: i64::try_from(call.delta.usage.total_tokens()).unwrap_or(i64::MAX),
        };
        let opened: Result<Vec<_>, Full> =
            identity.holders().map(|holder| self.assign_slot(&holder, now)).collect();
        let opened = opened?; // Nothing is charged where there is no room for all.
        let model = call.delta.model.clone();
        if !self.ledger.mark(&call.ids, now) {
            return Ok(self.judge(&identity, &model, now));
        }
        let upto = self.journal.append(&call);
        let Call { delta, log, ids: _ } = call;
        self.ledger.introduce(opened[0].0, &identity, self.said_of_call(&identity), now);
        for (_, account) in &opened {
            account.charge(charge);
        }
        self.ledger.apply(delta, now);
        if let Some(log) = log {
            self.ledger.log(log);
        }
        self.journal.apply(upto);
        self.publish();
        Ok(self.judge(&identity, &model, now))
    }

    /// Whether a call of this identity to a model would be let through, and how its user stands. No holder becomes known
    /// by it.
    pub fn judge(&mut self, identity: &Identity, model: &Model, now: Timestamp) -> Judged {
        // The first block is the one that is told: the user's own, then its org's, its feature's, its key's.
        let verdicts = identity.holders().map(|holder| self.verdict(holder, now));
        let mut verdicts: Vec<Verdict> = verdicts.collect();
        let first = verdicts.iter().position(|verdict| matches!(verdict, Verdict::Block(_))).unwrap_or(0);
        let verdict = match verdicts.swap_remove(first) {
            verdict @ Verdict::Block(_) => verdict,
            verdict => self.verdict_on(model, identity, now).map_or(verdict, Verdict::Block),
        };
        let record = self.known_or_stranger(Holder::User(identity.user.clone()), now);
        Judged {
            verdict,
            remaining: Remaining::of(&record.account_state().limit, record.used()),
            delay_ms: record.account_state().delay_ms,
            org: identity.org.clone(),
            user: self.view(&record, None),
        }
    }

    /// As [`Aggregator::judge`], for an application that may or may not speak for the user.
    pub(super) fn judge_call(
        &mut self,
        said: &Identity,
        model: &Model,
        now: Timestamp,
    ) -> Result<Judged, CommandError> {
        let identity = self.speaks_as(said)?;
        let judged = self.judge(&identity, model, now);
        self.note_refusal(&identity, &judged, now);
        Ok(judged)
    }

    /// An application that asks and is told no has been refused as well.
    fn note_refusal(&mut self, identity: &Identity, judged: &Judged, now: Timestamp) {
        let Verdict::Block(ending) = &judged.verdict else { return };
        self.ledger.refuse(Rejected {
            at: now,
            user: Some(identity.user.clone()),
            org: identity.org.clone(),
            key: identity.key,
            address: "".into(),
            reason: RefusalReason::of(ending),
            count: 1,
        });
    }

    fn verdict(&mut self, holder: Holder, now: Timestamp) -> Verdict {
        if let Some(slot) = self.ledger.find(&holder) {
            self.ledger.advance(slot, now);
        }
        let record = self.known_or_stranger(holder, now);
        judge(record.account_state(), record.used(), now)
    }

    /// Why a model is not for these holders, if so.
    fn verdict_on(&self, model: &Model, identity: &Identity, now: Timestamp) -> Option<CloseReason> {
        let models = |holder| self.known_or_stranger(holder, now).account_state().limit.models.clone();
        let lists: Vec<_> = identity.holders().map(models).collect();
        judge_model(model.as_str(), &lists)
    }
}
