//! One round: many shares exchanged at once, over one connection.

use super::redis::{Connection, Held};
use futures_util::future::try_join_all;
use redis::RedisResult;
use std::collections::HashMap;
use tokenist_core::fleet::{Count, Heard, Share, Writer};
use tokenist_core::id::Holder;
use tokenist_core::money::NanoUsd;
use tokenist_core::verdict::Used;

/// The names of the others, each held once.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<String, Writer>);

/// Past it, and past so many bytes, a name is none: anybody may write there.
const NAMES_MAX: usize = 4_096;
const NAME_BYTES_MAX: usize = 64;

impl Names {
    /// `None` where there is no room for one more.
    fn writer(&mut self, name: &str) -> Option<Writer> {
        if let Some(known) = self.0.get(name) {
            return Some(known.clone());
        }
        if self.0.len() >= NAMES_MAX || name.len() > NAME_BYTES_MAX {
            return None;
        }
        Some(self.0.entry(name.to_owned()).or_insert_with(|| Writer(name.into())).clone())
    }
}

/// The connection writes the questions one after another and does not wait for an answer in between.
pub(super) async fn exchange(
    connection: &Connection,
    names: &mut Names,
    writer: &str,
    shares: &[Share],
) -> RedisResult<Vec<(Holder, Vec<Heard>)>> {
    let questions = shares.iter().map(|share| {
        let writer = share.of.as_ref().map_or(writer, |Writer(name)| name);
        connection.exchange(writer, share)
    });
    let answers = try_join_all(questions).await?;
    // Of what was told again nothing is news.
    let own = shares.iter().zip(&answers).filter(|(share, _)| share.of.is_none());
    Ok(own.map(|(share, held)| (share.holder.clone(), hear(names, writer, share, held))).collect())
}

fn hear(names: &mut Names, writer: &str, share: &Share, held: &[Held]) -> Vec<Heard> {
    let heard = |(count, held): (&Count, &Held)| {
        let mut heard = Heard { cell: count.cell, others: Vec::new(), own: Used::default() };
        for (field, figures) in held {
            // What is not ours to read counts as nothing: somebody else has written there.
            let Some(used) = parse(figures) else { continue };
            if field == writer {
                heard.own = used;
            } else if let Some(other) = names.writer(field) {
                heard.others.push((other, used));
            }
        }
        heard
    };
    share.counts.iter().zip(held).map(heard).collect()
}

fn parse(figures: &str) -> Option<Used> {
    let (cost, tokens) = figures.split_once(' ')?;
    Some(Used { cost: NanoUsd(cost.parse().ok()?), tokens: tokens.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenist_core::fleet::Cell;
    use tokenist_core::limit::WindowKind;
    use tokenist_core::time::Timestamp;

    #[test]
    fn others_are_told_apart_and_nonsense_is_passed_over() {
        let cell = Cell { window: WindowKind::Total, start: Timestamp(0) };
        let used = |nano, tokens| Used { cost: NanoUsd(nano), tokens };
        let counts = vec![Count { cell, used: used(0, 0) }];
        let share = Share { holder: Holder::User("alice".into()), of: None, counts };
        let held = [("us", "5 50"), ("a", "9007199254740993 1"), ("b", "7 2"), ("c", "nonsense"), ("d", "-")];
        let held = held.map(|(field, figures)| (field.to_owned(), figures.to_owned())).to_vec();
        let others = [("a", used(9_007_199_254_740_993, 1)), ("b", used(7, 2))];
        let others = others.map(|(name, used)| (Writer(name.into()), used)).to_vec();
        let heard = Heard { cell, others, own: used(5, 50) };
        assert_eq!(hear(&mut Names::default(), "us", &share, &[held]), [heard]);
    }
}
