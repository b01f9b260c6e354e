//! Which browsers' tokens were revoked, and how often those were used that open so many sessions and no more. Any shard may be
//! shown one, so the aggregator counts. It does so for this instance, and a restart forgets it: the proxy refuses a token that
//! may have been used before.

use super::Aggregator;
use std::collections::{BTreeSet, HashMap};
use tokenist_core::browser_token::{RevokedToken, SKEW_MS, TokenId};
use tokenist_core::catalog::{Entry, EntryId, Kept};
use tokenist_core::time::{STEP_BACK_MS, Timestamp};
use tokenist_handoff::{Answer, Order, Shown, ShownToken};

/// Tokens that are counted. Past it no other one opens anything: what is known of one must not be forgotten while it is good.
const TOKENS_MAX: usize = 100_000;
/// How much longer a count is kept than its token is good for: by the clock of any instance, and after a clock's step back.
const KEPT_MS: u64 = SKEW_MS + STEP_BACK_MS;

#[derive(Debug, Default)]
pub(super) struct Uses {
    counts: HashMap<TokenId, u32>,
    /// The first to be forgotten first.
    order: BTreeSet<(Timestamp, TokenId)>,
}

impl Uses {
    fn count(&mut self, token: &ShownToken, now: Timestamp) -> Shown {
        let Some(uses) = token.uses else { return Shown::Good };
        self.expire(now);
        if !self.counts.contains_key(&token.id) {
            if self.counts.len() >= TOKENS_MAX {
                return Shown::Full;
            }
            self.order.insert((token.until, token.id.clone()));
        }
        let count = self.counts.entry(token.id.clone()).or_default();
        if *count >= uses {
            return Shown::UsedUp;
        }
        *count += 1;
        Shown::Good
    }

    fn expire(&mut self, now: Timestamp) {
        while let Some((until, _)) = self.order.first()
            && until.plus_ms(KEPT_MS) < now
            && let Some((_, token)) = self.order.pop_first()
        {
            self.counts.remove(&token);
        }
    }
}

impl Aggregator {
    pub(super) fn answer_show(&mut self, shard: usize, ticket: u64, token: &ShownToken, now: Timestamp) {
        let revoked = self.ledger.entry(&EntryId::of::<RevokedToken>(token.id.as_str()));
        let shown = match revoked.is_some_and(|entry| entry.value.value.is_some()) {
            true => Shown::Revoked,
            false => self.uses.count(token, now),
        };
        self.send(shard, Order::Admission { ticket, answer: Answer::Shown(shown) });
    }

    /// Ends the sessions of a token, if this is that it was revoked.
    pub(super) fn end_revoked(&mut self, entry: &Entry) {
        if *entry.id.kind == *RevokedToken::KIND && entry.value.is_some() {
            let token = TokenId::from(&*entry.id.id);
            self.shards.iter_mut().for_each(|shard| shard.send(Order::Revoke(token.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(number: usize, uses: Option<u32>) -> ShownToken {
        ShownToken { id: TokenId::from(&*number.to_string()), uses, until: Timestamp(1_000) }
    }

    #[test]
    fn a_token_opens_as_many_sessions_as_it_says_for_as_long_as_any_clock_takes_it() {
        let mut used = Uses::default();
        let last = Timestamp(1_000 + KEPT_MS);
        let counted = [(Some(2), Timestamp(0)), (Some(2), Timestamp(0)), (Some(2), last), (None, last)];
        let said = counted.map(|(uses, at)| used.count(&shown(1, uses), at));
        assert_eq!(said, [Shown::Good, Shown::Good, Shown::UsedUp, Shown::Good]);
        assert_eq!(used.count(&shown(2, Some(1)), last.plus_ms(1)), Shown::Good);
        assert_eq!((used.counts.len(), used.order.len()), (1, 1));
    }

    #[test]
    fn what_is_counted_is_not_forgotten_for_others() {
        let mut used = Uses::default();
        for number in 0..TOKENS_MAX {
            assert_eq!(used.count(&shown(number, Some(1)), Timestamp(0)), Shown::Good);
        }
        let said = [(TOKENS_MAX, Some(1)), (0, Some(1)), (TOKENS_MAX, None)];
        let said = said.map(|(number, uses)| used.count(&shown(number, uses), Timestamp(0)));
        assert_eq!(said, [Shown::Full, Shown::UsedUp, Shown::Good]);
    }
}
