//! Redis, where instances exchange: it forgets, is away, and repeats what it was asked.

use crate::amount::Amount;
use std::collections::{BTreeMap, HashMap};
use tokenist_control::fact::Fact;
use tokenist_core::fleet::{Cell, Heard, Share, Writer};
use tokenist_core::id::Holder;
use tokenist_core::money::NanoUsd;
use tokenist_core::verdict::Used;

#[derive(Debug, Default)]
pub(crate) struct Place {
    sums: HashMap<(Holder, Cell), BTreeMap<Writer, Amount>>,
    /// Settings that instances tell each other, with who told them, and how many were forgotten before the first.
    news: Vec<(usize, Fact)>,
    forgotten: usize,
    pub(crate) is_away: bool,
}

impl Place {
    /// What the script in Redis does.
    pub(crate) fn exchange(&mut self, name: &Writer, round: &[Share]) -> Vec<(Holder, Vec<Heard>)> {
        let mut answers = Vec::new();
        for Share { holder, of, counts } in round {
            let writer = of.as_ref().unwrap_or(name);
            let mut heard = Vec::new();
            for count in counts {
                let held = self.sums.entry((holder.clone(), count.cell)).or_default();
                let own = held.get(writer).copied().unwrap_or_default();
                let others =
                    held.iter().filter(|(other, sum)| *other != writer && **sum != Amount::default());
                let others = others.map(|(other, sum)| (other.clone(), used(*sum))).collect();
                let told = Amount::used(count.used);
                let greater = Amount { nano: own.nano.max(told.nano), tokens: own.tokens.max(told.tokens) };
                held.insert(writer.clone(), greater);
                heard.push(Heard { cell: count.cell, others, own: used(own) });
            }
            if of.is_none() {
                answers.push((holder.clone(), heard));
            }
        }
        answers
    }

    pub(crate) fn tell(&mut self, teller: usize, fact: Fact) {
        self.news.push((teller, fact));
    }

    /// What others have told since this instance last listened.
    pub(crate) fn listen(&self, listener: usize, cursor: &mut usize) -> Vec<Fact> {
        let new = self.news.iter().skip(cursor.saturating_sub(self.forgotten));
        let facts = new.filter(|(teller, _)| *teller != listener).map(|(_, fact)| fact.clone()).collect();
        *cursor = self.forgotten + self.news.len();
        facts
    }

    pub(crate) fn forget(&mut self) {
        self.sums.clear();
        self.forgotten += self.news.len();
        self.news.clear();
    }
}

fn used(amount: Amount) -> Used {
    Used { cost: NanoUsd(amount.nano), tokens: amount.tokens as u64 }
}
