//! Redis, where instances exchange: it forgets, is away, and repeats what it was asked.

use crate::amount::Amount;
use std::collections::{BTreeMap, HashMap};
use tokenist_control::setting::SettingUpdate;
use tokenist_core::cluster::{Contribution, PeerTotals, Writer};
use tokenist_core::id::Holder;
use tokenist_core::money::NanoUsd;
use tokenist_core::verdict::Used;
use tokenist_core::window::WindowBucket;

#[derive(Debug, Default)]
pub(crate) struct Redis {
    pub(crate) sums: HashMap<(Holder, WindowBucket), BTreeMap<Writer, Amount>>,
    /// Settings that instances tell each other, with who told them, and how many were forgotten before the first.
    change_feed: Vec<(usize, SettingUpdate)>,
    forgotten: usize,
    pub(crate) is_away: bool,
    /// Where that is planted: what instances tell of others goes unheard.
    pub(crate) takes_own_alone: bool,
}

impl Redis {
    /// What the script in Redis does.
    pub(crate) fn exchange(
        &mut self,
        name: &Writer,
        round: &[Contribution],
    ) -> Vec<(Holder, Vec<PeerTotals>)> {
        let mut answers = Vec::new();
        for Contribution { holder, of, counts } in round {
            if self.takes_own_alone && of.is_some() {
                continue;
            }
            let writer = of.as_ref().unwrap_or(name);
            let mut totals = Vec::new();
            for count in counts {
                let held = self.sums.entry((holder.clone(), count.bucket)).or_default();
                let own = held.get(writer).copied().unwrap_or_default();
                let peers = held.iter().filter(|(peer, sum)| *peer != writer && **sum != Amount::default());
                let peers = peers.map(|(peer, sum)| (peer.clone(), used(*sum))).collect();
                let told = Amount::used(count.used);
                let greater = Amount { nano: own.nano.max(told.nano), tokens: own.tokens.max(told.tokens) };
                held.insert(writer.clone(), greater);
                totals.push(PeerTotals { bucket: count.bucket, peers, own: used(own) });
            }
            if of.is_none() {
                answers.push((holder.clone(), totals));
            }
        }
        answers
    }

    pub(crate) fn tell(&mut self, teller: usize, update: SettingUpdate) {
        self.change_feed.push((teller, update));
    }

    /// What others have told since this instance last listened.
    pub(crate) fn listen(&self, listener: usize, cursor: &mut usize) -> Vec<SettingUpdate> {
        let new = self.change_feed.iter().skip(cursor.saturating_sub(self.forgotten));
        let updates =
            new.filter(|(teller, _)| *teller != listener).map(|(_, update)| update.clone()).collect();
        *cursor = self.forgotten + self.change_feed.len();
        updates
    }

    pub(crate) fn forget(&mut self) {
        self.sums.clear();
        self.forgotten += self.change_feed.len();
        self.change_feed.clear();
    }
}

fn used(amount: Amount) -> Used {
    Used { cost: NanoUsd(amount.nano), tokens: amount.tokens as u64 }
}
