//! One round: many shares exchanged at once, over one connection.

use super::redis::{Connection, Held};
use futures_util::future::try_join_all;
use redis::RedisResult;
use tokenist_core::fleet::{Count, Heard, Share};
use tokenist_core::id::Holder;
use tokenist_core::money::NanoUsd;
use tokenist_core::verdict::Used;

/// The connection writes the questions one after another and does not wait for an answer in between.
pub(super) async fn exchange(
    connection: &Connection,
    writer: &str,
    shares: &[Share],
) -> RedisResult<Vec<(Holder, Vec<Heard>)>> {
    let questions = shares.iter().map(|share| {
        let mut connection = connection.clone();
        async move { connection.exchange(writer, share).await }
    });
    let answers = try_join_all(questions).await?;
    let heard =
        shares.iter().zip(&answers).map(|(share, held)| (share.holder.clone(), hear(writer, share, held)));
    Ok(heard.collect())
}

fn hear(writer: &str, share: &Share, held: &[Held]) -> Vec<Heard> {
    let heard = |(count, held): (&Count, &Held)| {
        let mut heard = Heard { cell: count.cell, others: Used::default(), own: Used::default() };
        for (field, figures) in held {
            // What is not ours to read counts as nothing: somebody else has written there.
            let Some(used) = parse(figures) else { continue };
            match field == writer {
                true => heard.own = used,
                false => heard.others = heard.others.plus(used),
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
    fn others_are_summed_and_nonsense_is_passed_over() {
        let cell = Cell { window: WindowKind::Total, start: Timestamp(0) };
        let used = |nano, tokens| Used { cost: NanoUsd(nano), tokens };
        let share =
            Share { holder: Holder::User("alice".into()), counts: vec![Count { cell, used: used(0, 0) }] };
        let held = [("us", "5 50"), ("a", "9007199254740993 1"), ("b", "7 2"), ("c", "nonsense"), ("d", "-")];
        let held = held.map(|(field, figures)| (field.to_owned(), figures.to_owned())).to_vec();
        let heard = Heard { cell, others: used(9_007_199_254_741_000, 3), own: used(5, 50) };
        assert_eq!(hear("us", &share, &[held]), [heard]);
    }
}
