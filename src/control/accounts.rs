//! The shared accounts of the ledger's holders, and the way to every shard.

use std::collections::VecDeque;
use std::sync::Arc;
use tokenist_core::ledger::Slot;
use tokenist_core::money::NanoUsd;
use tokenist_core::record::{Applied, Ceiling, Record};
use tokenist_core::verdict::Used;
use tokenist_handoff::account::{SHUT, UNLIMITED};
use tokenist_handoff::{Account, Charge, Order, Sender};

/// One account for every holder that was ever admitted.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    by_slot: Vec<Option<Arc<Account>>>,
}

impl Accounts {
    pub(crate) fn find(&self, slot: Slot) -> Option<&Arc<Account>> {
        self.by_slot.get(slot.index())?.as_ref()
    }

    /// What the holder's account is charged beyond what is counted of it: responses under way, as far as they have come, and
    /// what is on its way here.
    pub(crate) fn under_way(&self, slot: Slot, applied: Applied) -> Used {
        let Some(account) = self.find(slot) else { return Used::default() };
        let beyond = |charged: i64, applied: i64| charged.wrapping_sub(applied).max(0);
        Used {
            cost: NanoUsd(beyond(account.cost.charged(), applied.cost)),
            tokens: beyond(account.tokens.charged(), applied.tokens).unsigned_abs(),
        }
    }

    /// The holder's account, up to date. A new one starts as if everything applied so far had been charged to it.
    pub(crate) fn open(&mut self, slot: Slot, record: &Record) -> Arc<Account> {
        let index = slot.index();
        if self.by_slot.len() <= index {
            self.by_slot.resize(index + 1, None);
        }
        let account = self.by_slot[index].get_or_insert_with(|| {
            let account = Account::new(record.account_state().clone());
            let Applied { cost, tokens } = record.applied();
            account.charge(Charge { cost: NanoUsd(cost), tokens });
            Arc::new(account)
        });
        publish(account, record);
        Arc::clone(account)
    }

    pub(crate) fn publish(&self, slot: Slot, record: &Record) {
        if let Some(account) = self.find(slot) {
            publish(account, record);
        }
    }

    /// No session holds the account, and no charge of it is still on its way or may be taken back.
    pub(crate) fn is_idle(&mut self, slot: Slot, applied: Applied) -> bool {
        match self.by_slot.get_mut(slot.index()) {
            Some(Some(account)) => {
                let charged = Applied { cost: account.cost.charged(), tokens: account.tokens.charged() };
                Arc::get_mut(account).is_some() && charged == applied
            }
            Some(None) | None => true,
        }
    }

    /// Whether a session uses the account, or is about to.
    pub(crate) fn is_held(&self, slot: Slot) -> bool {
        self.find(slot).is_some_and(|account| Arc::strong_count(account) > 1)
    }

    pub(crate) fn forget(&mut self, slot: Slot) {
        if let Some(account) = self.by_slot.get_mut(slot.index()) {
            *account = None;
        }
    }
}

/// The state goes first: a shard that finds the ceiling reached can then say why.
fn publish(account: &Account, record: &Record) {
    if **account.state() != *record.account_state() {
        account.set_state(record.account_state().clone());
    }
    let ceilings = record.ceilings();
    account.cost.set_ceiling(figure(ceilings.cost));
    account.tokens.set_ceiling(figure(ceilings.tokens));
}

fn figure(ceiling: Ceiling) -> i64 {
    match ceiling {
        Ceiling::Unlimited => UNLIMITED,
        Ceiling::Shut => SHUT,
        Ceiling::At(charge) => charge,
    }
}

/// The way to one shard. Orders that find its mailbox full are kept, in order, and tried again in every round of the loop; there
/// are never more than the shard has requests waiting and sessions open. Sweeps coalesce, and so do releases.
#[derive(Debug)]
pub(crate) struct Outbox {
    sender: Sender<Order>,
    kept: VecDeque<Order>,
    owes_sweep: bool,
    owes_release: bool,
}

impl Outbox {
    pub(crate) fn new(sender: Sender<Order>) -> Outbox {
        Outbox { sender, kept: VecDeque::new(), owes_sweep: false, owes_release: false }
    }

    pub(crate) fn send(&mut self, order: Order) {
        self.kept.push_back(order);
        self.flush();
    }

    pub(crate) fn sweep(&mut self) {
        self.owes_sweep = true;
        self.flush();
    }

    pub(crate) fn release(&mut self) {
        self.owes_release = true;
        self.flush();
    }

    pub(crate) fn flush(&mut self) {
        while let Some(order) = self.kept.pop_front() {
            if let Err(order) = self.sender.try_send(order) {
                self.kept.push_front(order);
                return;
            }
        }
        if self.owes_sweep {
            self.owes_sweep = self.sender.try_send(Order::Sweep).is_err();
        }
        if self.owes_release {
            self.owes_release = self.sender.try_send(Order::Release).is_err();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenist_core::id::SessionId;
    use tokenist_handoff::mailbox;

    #[test]
    fn orders_wait_for_room_and_sweeps_coalesce() {
        let (sender, mailbox) = mailbox(2).unwrap();
        let mut outbox = Outbox::new(sender);
        for number in 1..=3 {
            outbox.send(Order::Close(SessionId(number)));
            outbox.sweep();
        }
        let mut received = Vec::new();
        for _ in 0..4 {
            received.extend(mailbox.drain().map(|order| match order {
                Order::Close(SessionId(number)) => number,
                Order::Sweep => 0,
                other => panic!("{other:?}"),
            }));
            outbox.flush();
        }
        assert_eq!(received, [1, 0, 2, 3, 0]);
    }
}
