//! One round: many contributions exchanged at once, over one connection.

use super::redis::{Connection, Held};
use futures_util::future::try_join_all;
use redis::RedisResult;
use std::collections::HashMap;
use tokenist_core::cluster::{Contribution, Count, PeerTotals, Writer};
use tokenist_core::id::Holder;
use tokenist_core::money::NanoUsd;
use tokenist_core::verdict::Used;

/// The names of the peers, each held once.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<String, Writer>);

/// Past it, and past so many bytes, a name is none: any client may write there.
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
    contributions: &[Contribution],
) -> RedisResult<Vec<(Holder, Vec<PeerTotals>)>> {
    let questions = contributions.iter().map(|contribution| {
        let writer = contribution.of.as_ref().map_or(writer, |Writer(name)| name);
        connection.exchange(writer, contribution)
    });
    let answers = try_join_all(questions).await?;
    // Of what was told again nothing is news.
    let own = contributions.iter().zip(&answers).filter(|(contribution, _)| contribution.of.is_none());
    Ok(own
        .map(|(contribution, held)| {
            (contribution.holder.clone(), totals_of(names, writer, contribution, held))
        })
        .collect())
}

fn totals_of(names: &mut Names, writer: &str, contribution: &Contribution, held: &[Held]) -> Vec<PeerTotals> {
    let totals = |(count, held): (&Count, &Held)| {
        let mut totals = PeerTotals { bucket: count.bucket, peers: Vec::new(), own: Used::default() };
        for (field, figures) in held {
            // What is not ours to read counts as nothing: another client has written there.
            let Some(used) = parse(figures) else { continue };
            if field == writer {
                totals.own = used;
            } else if let Some(peer) = names.writer(field) {
                totals.peers.push((peer, used));
            }
        }
        totals
    };
    contribution.counts.iter().zip(held).map(totals).collect()
}

fn parse(figures: &str) -> Option<Used> {
    let (cost, tokens) = figures.split_once(' ')?;
    Some(Used { cost: NanoUsd(cost.parse().ok()?), tokens: tokens.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenist_core::limit::WindowKind;
    use tokenist_core::time::Timestamp;
    use tokenist_core::window::WindowBucket;

    #[test]
    fn others_are_told_apart_and_nonsense_is_passed_over() {
        let bucket = WindowBucket { window: WindowKind::Total, start: Timestamp(0) };
        let used = |nano, tokens| Used { cost: NanoUsd(nano), tokens };
        let counts = vec![Count { bucket, used: used(0, 0) }];
        let contribution = Contribution { holder: Holder::User("alice".into()), of: None, counts };
        let held = [("us", "5 50"), ("a", "9007199254740993 1"), ("b", "7 2"), ("c", "nonsense"), ("d", "-")];
        let held = held.map(|(field, figures)| (field.to_owned(), figures.to_owned())).to_vec();
        let peers = [("a", used(9_007_199_254_740_993, 1)), ("b", used(7, 2))];
        let peers = peers.map(|(name, used)| (Writer(name.into()), used)).to_vec();
        let totals = PeerTotals { bucket, peers, own: used(5, 50) };
        assert_eq!(totals_of(&mut Names::default(), "us", &contribution, &[held]), [totals]);
    }
}
