//! What operators, rules and other instances set: limits, blocks, keys and what the catalog has.

use super::Aggregator;
use super::views::holding_block;
use crate::domain_event::DomainEvent;
use crate::error::CommandError;
use crate::setting::SettingUpdate;
use crate::view::UserView;
use tokenist_core::catalog::{Entry, Kept};
use tokenist_core::id::{Holder, Identity, UserId};
use tokenist_core::key::{Key, KeyId};
use tokenist_core::ledger::Full;
use tokenist_core::limit::{Block, Limit, RuleAction};
use tokenist_core::price::Listing;
use tokenist_core::profile::Said;
use tokenist_core::time::Timestamp;

impl Aggregator {
    pub fn set_limit(
        &mut self,
        user: UserId,
        limit: Limit,
        now: Timestamp,
    ) -> Result<UserView, CommandError> {
        let (slot, _) = self.assign_slot(&Holder::User(user), now)?;
        self.ledger.set_limit(slot, Some(limit), now);
        self.announce(slot);
        self.publish();
        Ok(self.user_view(slot, None))
    }

    pub fn block(&mut self, user: UserId, block: Block, now: Timestamp) -> Result<(), CommandError> {
        let holder = Holder::User(user);
        let (slot, _) = self.assign_slot(&holder, now)?;
        self.ledger.set_block(slot, Some(block), now);
        self.announce(slot);
        self.publish();
        self.tell_block(&holder, now);
        Ok(())
    }

    /// Whether the user was blocked.
    pub fn unblock(&mut self, user: UserId, now: Timestamp) -> bool {
        let holder = Holder::User(user);
        let Some(slot) = self.ledger.find(&holder) else { return false };
        let was_blocked = self.ledger.record(slot).block().is_some_and(|block| block.holds_at(now));
        self.ledger.set_block(slot, None, now);
        self.announce(slot);
        self.publish();
        if was_blocked {
            self.tell_block(&holder, now);
        }
        was_blocked
    }

    /// That the user has become blocked, or free.
    fn tell_block(&self, holder: &Holder, now: Timestamp) {
        self.domain_events.publish(|| {
            let record = self.ledger.record(self.ledger.find(holder)?);
            let Holder::User(user) = holder.clone() else { return None };
            Some(match holding_block(record, now).cloned() {
                Some(block) => DomainEvent::Blocked { user, block },
                None => DomainEvent::Unblocked { user, at: now },
            })
        });
    }

    /// Does to users what rules say, or no longer.
    pub fn apply_rule_actions(&mut self, users: Vec<(UserId, Option<RuleAction>)>, now: Timestamp) {
        for (user, rule_action) in users {
            self.ledger.apply_rule_action(&Holder::User(user), rule_action, now);
        }
        self.publish();
    }

    /// Makes a user known, with what is said of it.
    pub fn introduce(&mut self, identity: &Identity, now: Timestamp) -> Result<UserView, CommandError> {
        let (slot, _) = self.assign_slot(&Holder::User(identity.user.clone()), now)?;
        self.ledger.introduce(slot, identity, Said::ByOperator, now);
        self.announce(slot);
        self.publish();
        Ok(self.user_view(slot, None))
    }

    /// Makes a key known, or changes it; its live sessions end if it does.
    pub fn set_key(&mut self, key: Key, now: Timestamp) -> Result<(), CommandError> {
        let hash = key.hash;
        self.ledger.set_key(key, now).map_err(|Full| CommandError::KeysFull)?;
        self.announce_key(&hash);
        self.publish();
        Ok(())
    }

    /// Puts an entry into the catalog, or changes or removes it.
    pub fn set_entry(&mut self, entry: Entry, now: Timestamp) -> Result<(), CommandError> {
        let id = entry.id.clone();
        self.end_revoked(&entry);
        self.ledger.set_entry(entry, now).map_err(|Full| CommandError::CatalogFull)?;
        self.announce_entry(&id);
        if *id.kind == *Listing::KIND {
            self.reprice();
        }
        Ok(())
    }

    /// The key opens nothing from `at` on, nor later than it would have. `None` if there is no such key, or it has
    /// been revoked before.
    pub fn end_key(&mut self, id: &KeyId, at: Timestamp, now: Timestamp) -> Option<Key> {
        let mut key = self.ledger.key_of(id).filter(|key| key.revoked_at.is_none())?.clone();
        if at <= now {
            key.revoked_at = Some(now);
        } else {
            key.expires_at = Some(key.expires_at.map_or(at, |expiry| expiry.min(at)));
        }
        // It is known, so there is room.
        self.set_key(key.clone(), now).ok()?;
        Some(key)
    }

    /// Takes over what other instances have set, where it is later than what is known here. How much of it was.
    pub fn adopt(&mut self, updates: Vec<SettingUpdate>, now: Timestamp) -> usize {
        let mut adopted = 0;
        let is_price = |update: &SettingUpdate| matches!(update, SettingUpdate::Entry(entry) if *entry.value.id.kind == *Listing::KIND);
        let are_prices_among = updates.iter().any(is_price);
        for update in updates {
            let is_new = match update {
                SettingUpdate::Holder(state) => {
                    let holder = state.holder.clone();
                    let before = self.block_of(&holder, now);
                    let is_new = self.ledger.adopt(state, now);
                    if before != self.block_of(&holder, now) {
                        self.tell_block(&holder, now);
                    }
                    is_new
                }
                SettingUpdate::Key(key) => self.ledger.adopt_key(key, now),
                SettingUpdate::Entry(entry) => {
                    self.end_revoked(&entry.value);
                    let id = entry.value.id.clone();
                    let is_new = self.ledger.adopt_entry(entry);
                    self.follow_response(&id);
                    is_new
                }
            };
            adopted += usize::from(is_new);
        }
        if are_prices_among {
            self.reprice();
        }
        self.publish();
        adopted
    }

    fn block_of(&self, holder: &Holder, now: Timestamp) -> Option<Block> {
        holding_block(self.ledger.record(self.ledger.find(holder)?), now).cloned()
    }
}
