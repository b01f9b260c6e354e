//! How many deltas a second the ledger applies: the aggregator's whole work per metered response.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;
use tokenist_core::id::{Feature, Identity, Model, SessionId, UserId};
use tokenist_core::ledger::{Config, Ledger};
use tokenist_core::limit::{Limit, WindowKind};
use tokenist_core::message::{Delta, Opened, Transport};
use tokenist_core::money::NanoUsd;
use tokenist_core::time::Timestamp;
use tokenist_core::usage::Usage;

const NOON: Timestamp = Timestamp(1_795_435_200_000);
const DELTA_COUNT: usize = 10_000;

/// Deltas of `user_count` users in turn, a millisecond apart, as shards report them.
fn deltas(user_count: usize) -> Vec<Delta> {
    let identities: Vec<_> = (0..user_count)
        .map(|index| {
            let user = UserId::from(format!("user-{index:08}@example.com").as_str());
            let org = Some(format!("org-{}", index % 100).as_str().into());
            Arc::new(Identity { org, feature: Some(Feature::from("voice")), ..Identity::of(user) })
        })
        .collect();
    (0..DELTA_COUNT)
        .map(|index| Delta {
            at: NOON.plus_ms(index as u64),
            session: SessionId((index % user_count) as u64),
            identity: Arc::clone(&identities[index * 7919 % user_count]),
            provider: "openai".into(),
            model: Model::from("gpt-realtime"),
            usage: Usage {
                text_in: 120,
                audio_in: 800,
                text_out: 40,
                audio_out: 600,
                requests: 1,
                ..Usage::default()
            },
            cost: NanoUsd(64_000_000),
            estimated: false,
            latency_ms: Some(900),
        })
        .collect()
}

fn apply(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ledger");
    group.throughput(Throughput::Elements(DELTA_COUNT as u64));
    for user_count in [100, 10_000] {
        let default_limit = Limit {
            max_cost: Some(NanoUsd::MAX),
            max_tokens: Some(1 << 60),
            window: WindowKind::Monthly,
            ..Limit::default()
        };
        let mut ledger = Ledger::new(Config { default_limit, ..Config::default() }, NOON);
        let deltas = deltas(user_count);
        for delta in &deltas[..user_count.min(DELTA_COUNT)] {
            ledger.open_session(
                Opened {
                    session: delta.session,
                    identity: Arc::clone(&delta.identity),
                    provider: Arc::clone(&delta.provider),
                    model: Some(delta.model.clone()),
                    transport: Transport::default(),
                    call: None,
                    at: NOON,
                },
                NOON,
            );
        }
        group.bench_function(format!("apply {DELTA_COUNT} deltas of {user_count} users"), |bencher| {
            bencher.iter_batched(
                || deltas.clone(),
                |deltas| {
                    for delta in deltas {
                        ledger.apply(delta, NOON);
                    }
                    black_box(ledger.take_batch())
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, apply);
criterion_main!(benches);
