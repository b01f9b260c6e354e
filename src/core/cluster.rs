//! What several instances count for one holder: what this one leaves for the peers, and what it knows of theirs.
//!
//! Start at [`Record::contribution`](crate::record::Record::contribution) and
//! [`Record::merge`](crate::record::Record::merge). Figures are exchanged by [`WindowBucket`], so that the usage of
//! others leaves a rolling window exactly as ours does.
//!
//! Invariant: what was merged of a bucket only grows. A place of exchange that forgets, or answers late or twice, sets
//! no session free; a bucket leaves with its window and not before.

use crate::id::Holder;
use crate::limit::{Limit, Mode, OnRedisDown, WindowKind};
use crate::money::NanoUsd;
use crate::time::Timestamp;
use crate::verdict::Used;
use crate::window::{BUCKET_MS, WindowBucket, Windows};
use std::sync::Arc;

/// What this instance has counted in a bucket. It only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    pub bucket: WindowBucket,
    pub used: Used,
}

/// The name that an instance's sums grow under.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Writer(pub Arc<str>);

/// What an instance has counted for a holder, to be exchanged for what the peers have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contribution {
    pub holder: Holder,
    /// Another instance, of which this is told again; `None`: this one.
    pub of: Option<Writer>,
    /// Cells that are zero are only asked for.
    pub counts: Vec<Count>,
}

/// The answer for one bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerTotals {
    pub bucket: WindowBucket,
    /// What each other instance has counted, those that have counted something.
    pub peers: Vec<(Writer, Used)>,
    /// What this instance had left there before.
    pub own: Used,
}

/// Which buckets to exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those that may have changed since they were last merged.
    Recent,
    /// All that count.
    Whole,
}

/// What one record knows of the other instances.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peers {
    /// Buckets of which something was merged, in order.
    buckets: Vec<PeerBucket>,
    /// By window, the latest bucket that was merged.
    merged_upto: [Option<Timestamp>; 4],
    /// What this instance had counted when the peers were last asked, and when they were last merged: so much of it
    /// they know.
    asked: Option<Mark>,
    agreed: Option<Mark>,
    partition: Option<Partition>,
    weight: Weight,
    /// The first bucket that the weight counts, as long as the weight is right.
    weighed_from: Option<Timestamp>,
}

/// What counts against a limit besides our own usage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    pub(crate) peers: Used,
    /// Kept for instances that cannot be reached.
    pub(crate) reserved: Used,
}

#[derive(Clone, Debug)]
struct PeerBucket {
    bucket: WindowBucket,
    peers: Vec<(Writer, Used)>,
    /// What this instance itself had counted and does not know of: it forgot the holder for a while, or died before its
    /// ledger had it, or goes on with an older one.
    forgotten: Used,
    /// Both, when the peers were last in touch.
    agreed: Used,
}

/// The peers cannot be reached, or may not have found back yet.
#[derive(Clone, Copy, Debug)]
struct Partition {
    instance_count: u32,
    mark: Mark,
}

/// What this instance had counted at some time.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// The current bucket then, and what was in it.
    since: WindowBucket,
    own: Used,
}

impl Mark {
    fn of(windows: &Windows, window: WindowKind) -> Mark {
        let since = WindowBucket { window, start: windows.newest(window) };
        Mark { since, own: windows.used_in(since) }
    }
}

impl Limit {
    /// Whether it can be reached, so that it matters what others have counted.
    pub fn is_bounded(&self) -> bool {
        self.max_cost.is_some() || self.max_tokens.is_some()
    }
}

impl Peers {
    pub(crate) fn weight(&self) -> Weight {
        self.weight
    }

    /// Brings the weight up to date. Cheap while nothing was merged, set or left behind.
    pub(crate) fn weigh(&mut self, windows: &Windows, limit: &Limit) {
        let from = windows.from(limit.window);
        if self.weighed_from == Some(from) {
            return;
        }
        self.buckets
            .retain(|peer_bucket| peer_bucket.bucket.start >= windows.from(peer_bucket.bucket.window));
        let keeps = limit.mode == Mode::Enforce && limit.on_redis_down != OnRedisDown::Allow;
        let peers = self.sum(windows, limit.window, PeerBucket::used);
        self.weight = Weight {
            peers,
            reserved: if keeps { self.reserved(windows, limit, peers) } else { Used::default() },
        };
        self.weighed_from = Some(from);
    }

    /// What counts in the window besides our own.
    fn sum(&self, windows: &Windows, window: WindowKind, of: impl Fn(&PeerBucket) -> Used) -> Used {
        self.current(windows, window).fold(Used::default(), |sum, peer_bucket| sum.plus(of(peer_bucket)))
    }

    /// What leaves the window and when, the oldest first.
    pub(crate) fn leaving(
        &self,
        windows: &Windows,
        window: WindowKind,
    ) -> impl Iterator<Item = (Timestamp, Used)> {
        self.current(windows, window)
            .filter_map(|peer_bucket| Some((peer_bucket.bucket.end()?, peer_bucket.used())))
    }

    fn current(&self, windows: &Windows, window: WindowKind) -> impl Iterator<Item = &PeerBucket> {
        let from = windows.from(window);
        self.buckets.iter().filter(move |peer_bucket| {
            peer_bucket.bucket.window == window && peer_bucket.bucket.start >= from
        })
    }

    /// Whether a whole window has been merged, up to the present but for a bucket.
    pub(crate) fn are_known(&self, windows: &Windows, window: WindowKind) -> bool {
        let upto = self.merged_upto[window as usize];
        let enough = match window {
            WindowKind::Rolling24h => windows.newest(window).minus_ms(BUCKET_MS),
            WindowKind::Daily | WindowKind::Monthly | WindowKind::Total => windows.newest(window),
        };
        upto.is_some_and(|upto| upto >= enough)
    }

    /// What is to be exchanged now. `whole_from`: what this instance has counted since then it has not forgotten.
    pub(crate) fn counts(
        &mut self,
        windows: &Windows,
        window: WindowKind,
        scope: Scope,
        whole_from: Timestamp,
    ) -> Vec<Count> {
        self.asked = Some(Mark::of(windows, window));
        let from = windows.from(window);
        let newest = windows.newest(window);
        let first = match (window, scope, self.merged_upto[window as usize]) {
            // The one before may still have grown by what came late.
            (WindowKind::Rolling24h, Scope::Recent, Some(upto)) => from.max(upto.minus_ms(BUCKET_MS)),
            (WindowKind::Rolling24h, _, _) => from,
            (WindowKind::Daily | WindowKind::Monthly | WindowKind::Total, _, _) => newest,
        };
        let mut counts = Vec::new();
        let mut start = first;
        while start <= newest {
            let bucket = WindowBucket { window, start };
            // What may be greater over there is read before it is written, or it would be lost.
            let used = match self.is_whole(bucket, whole_from) {
                true => windows.used_in(bucket).plus(self.forgotten(bucket)),
                false => Used::default(),
            };
            counts.push(Count { bucket, used });
            start = start.plus_ms(BUCKET_MS);
            if window != WindowKind::Rolling24h {
                break;
            }
        }
        counts
    }

    /// What was merged of each other instance, to be told again where it may have been lost together with the instance.
    pub(crate) fn of_peers(&self, windows: &Windows, window: WindowKind) -> Vec<(Writer, Vec<Count>)> {
        let mut told: Vec<(Writer, Vec<Count>)> = Vec::new();
        for peer_bucket in self.current(windows, window) {
            for (writer, used) in &peer_bucket.peers {
                let count = Count { bucket: peer_bucket.bucket, used: *used };
                match told.iter_mut().find(|(known, _)| known == writer) {
                    Some((_, counts)) => counts.push(count),
                    None => told.push((writer.clone(), vec![count])),
                }
            }
        }
        told
    }

    /// Whether our count of the bucket is all that this instance ever counted in it.
    fn is_whole(&self, bucket: WindowBucket, whole_from: Timestamp) -> bool {
        self.is_merged(bucket) || bucket.start >= whole_from
    }

    fn is_merged(&self, bucket: WindowBucket) -> bool {
        self.merged_upto[bucket.window as usize].is_some_and(|upto| bucket.start <= upto)
    }

    fn forgotten(&self, bucket: WindowBucket) -> Used {
        let found = self.buckets.binary_search_by_key(&bucket, |peer_bucket| peer_bucket.bucket);
        found.map_or(Used::default(), |index| self.buckets[index].forgotten)
    }

    pub(crate) fn merge(&mut self, windows: &Windows, totals: &[PeerTotals], whole_from: Timestamp) {
        self.weighed_from = None;
        self.agreed = self.asked.take().or(self.agreed);
        for &PeerTotals { bucket, ref peers, own } in totals {
            let forgotten = match self.is_merged(bucket) {
                true => Used::default(),
                false if bucket.start >= whole_from => own.less(windows.used_in(bucket)),
                false => own,
            };
            if peers.is_empty() && forgotten == Used::default() {
                continue;
            }
            let found = self.buckets.binary_search_by_key(&bucket, |peer_bucket| peer_bucket.bucket);
            let index = found.unwrap_or_else(|index| {
                let (agreed, forgotten) = (Used::default(), Used::default());
                self.buckets.insert(index, PeerBucket { bucket, peers: Vec::new(), forgotten, agreed });
                index
            });
            let known = &mut self.buckets[index];
            known.forgotten = known.forgotten.join(forgotten);
            peers.iter().for_each(|(writer, used)| known.join(writer, *used));
        }
        for &PeerTotals { bucket, .. } in totals {
            let upto = &mut self.merged_upto[bucket.window as usize];
            *upto = (*upto).max(Some(bucket.start));
        }
    }

    /// Drops what lies in a future that a wrong clock had made up.
    pub(crate) fn set_back(&mut self, windows: &Windows) {
        self.weighed_from = None;
        self.buckets
            .retain(|peer_bucket| peer_bucket.bucket.start <= windows.newest(peer_bucket.bucket.window));
        for window in WindowKind::ALL {
            let upto = &mut self.merged_upto[window as usize];
            *upto = upto.filter(|&upto| upto <= windows.newest(window));
        }
    }

    pub(crate) fn is_partitioned(&self) -> bool {
        self.partition.is_some()
    }

    /// From now on so many instances, this one included, share what was left when they were last in touch; `None`:
    /// they do again.
    ///
    /// What each has counted since then comes out of its part. So all of them share the same rest, however long they
    /// take to notice, but for what others have left in the beat after this one merged theirs.
    pub(crate) fn partition(&mut self, windows: &Windows, window: WindowKind, instance_count: Option<u32>) {
        self.weighed_from = None;
        let known = self.agreed.or(self.asked).filter(|mark| mark.since.window == window);
        let mark = known.unwrap_or_else(|| Mark::of(windows, window));
        self.partition =
            instance_count.map(|instance_count| Partition { instance_count: instance_count.max(1), mark });
        for peer_bucket in &mut self.buckets {
            peer_bucket.agreed = peer_bucket.used();
        }
    }

    /// Another limit holds. Where it sums over another window, what is left there is shared anew.
    pub(crate) fn set_limit(&mut self, windows: &Windows, window: WindowKind) {
        self.weighed_from = None;
        if let Some(partition) = self.partition.filter(|partition| partition.mark.since.window != window) {
            self.partition(windows, window, Some(partition.instance_count));
        }
    }

    /// What of the limit is kept for the instances that cannot be reached, beyond what is known of them. The parts
    /// stay as they were when all parted: what is merged of the peers' later usage was their part, and takes nothing
    /// of ours.
    fn reserved(&self, windows: &Windows, limit: &Limit, peers: Used) -> Used {
        let Some(Partition { instance_count, mark }) = self.partition else { return Used::default() };
        let agreed = self.sum(windows, limit.window, |peer_bucket| peer_bucket.agreed);
        let before = windows.used_before(mark.since, mark.own).plus(agreed);
        let kept = |limit: u64, before: u64| {
            let left = limit.saturating_sub(before);
            left - left / u64::from(instance_count)
        };
        let cost = limit.max_cost.map(|max| kept(unsigned(max.0), unsigned(before.cost.0)));
        let tokens = limit.max_tokens.map(|max| kept(max, before.tokens));
        let kept = Used {
            cost: NanoUsd(i64::try_from(cost.unwrap_or(0)).unwrap_or(i64::MAX)),
            tokens: tokens.unwrap_or(0),
        };
        kept.plus(agreed).less(peers)
    }
}

impl PeerBucket {
    fn used(&self) -> Used {
        self.peers.iter().fold(self.forgotten, |sum, (_, used)| sum.plus(*used))
    }

    /// What one of the peers counts only grows.
    fn join(&mut self, writer: &Writer, used: Used) {
        match self.peers.iter_mut().find(|(known, _)| known == writer) {
            Some((_, known)) => *known = known.join(used),
            None => {
                self.peers.reserve_exact(1); // Clusters are small, and holders many.
                self.peers.push((writer.clone(), used));
            }
        }
    }
}

fn unsigned(amount: i64) -> u64 {
    u64::try_from(amount).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::totals::Totals;
    use crate::usage::Usage;

    const NOON: Timestamp = Timestamp(1_795_435_200_000);

    fn used(nano: i64) -> Used {
        Used { cost: NanoUsd(nano), tokens: 0 }
    }

    fn add(windows: &mut Windows, at: Timestamp, nano: i64) {
        windows.add(at, &Totals { usage: Usage::default(), cost: NanoUsd(nano), ..Totals::default() });
    }

    fn day(peers: i64, own: i64) -> PeerTotals {
        let bucket = WindowBucket { window: WindowKind::Daily, start: NOON.day_start() };
        PeerTotals { bucket, peers: vec![(Writer("b".into()), used(peers))], own: used(own) }
    }

    fn sum(peers: &Peers, windows: &Windows, window: WindowKind) -> Used {
        peers.sum(windows, window, PeerBucket::used)
    }

    fn reserved(peers: &Peers, windows: &Windows) -> Used {
        peers.reserved(windows, &limit(), peers.sum(windows, WindowKind::Daily, PeerBucket::used))
    }

    fn limit() -> Limit {
        Limit { max_cost: Some(NanoUsd(1_000)), window: WindowKind::Daily, ..Limit::default() }
    }

    #[test]
    fn what_was_heard_never_shrinks_and_leaves_with_its_window() {
        let mut windows = Windows::new(NOON);
        let mut peers = Peers::default();
        for (told, known) in [(50, 50), (0, 50), (70, 70), (60, 70)] {
            peers.merge(&windows, &[day(told, 0)], Timestamp(0));
            peers.weigh(&windows, &limit());
            assert_eq!(peers.weight().peers, used(known));
        }
        windows.advance(NOON.next_day_start());
        peers.weigh(&windows, &limit());
        assert_eq!((peers.weight().peers, peers.buckets.len()), (used(0), 0));
        assert!(!peers.are_known(&windows, WindowKind::Daily));
    }

    #[test]
    fn what_was_heard_is_kept_for_each_instance_and_can_be_told_again() {
        let windows = Windows::new(NOON);
        let mut peers = Peers::default();
        let bucket = WindowBucket { window: WindowKind::Daily, start: NOON.day_start() };
        let [b, c] = ["b", "c"].map(|name| Writer(name.into()));
        // The second answer comes from a place that has lost what `b` had left there.
        for totals in [vec![(b.clone(), used(40)), (c.clone(), used(5))], vec![(c.clone(), used(30))]] {
            peers.merge(&windows, &[PeerTotals { bucket, peers: totals, own: used(0) }], Timestamp(0));
        }
        assert_eq!(sum(&peers, &windows, WindowKind::Daily), used(70));
        let count = |nano| vec![Count { bucket, used: used(nano) }];
        assert_eq!(peers.of_peers(&windows, WindowKind::Daily), [(b, count(40)), (c, count(30))]);
    }

    #[test]
    fn a_rolling_window_is_read_whole_once_and_then_from_where_it_was_left() {
        let mut windows = Windows::new(NOON);
        let mut peers = Peers::default();
        let merge = |peers: &mut Peers, windows: &Windows, counts: &[Count], each: i64| {
            let totals: Vec<_> = counts
                .iter()
                .map(|count| {
                    let peers = vec![(Writer("b".into()), used(each))];
                    PeerTotals { bucket: count.bucket, peers, own: used(0) }
                })
                .collect();
            peers.merge(windows, &totals, Timestamp(0));
        };
        let counts = |peers: &mut Peers, windows: &Windows| {
            peers.counts(windows, WindowKind::Rolling24h, Scope::Recent, Timestamp(0))
        };
        let first = counts(&mut peers, &windows);
        assert_eq!(first.len(), 289);
        merge(&mut peers, &windows, &first, 1);
        assert_eq!(sum(&peers, &windows, WindowKind::Rolling24h), used(289));
        assert_eq!(counts(&mut peers, &windows).len(), 2);
        windows.advance(NOON.plus_ms(BUCKET_MS));
        assert_eq!(sum(&peers, &windows, WindowKind::Rolling24h), used(288), "one has left");
        assert!(peers.are_known(&windows, WindowKind::Rolling24h));
        windows.advance(NOON.plus_ms(10 * BUCKET_MS));
        assert!(!peers.are_known(&windows, WindowKind::Rolling24h), "nothing was merged for nearly an hour");
        assert_eq!(counts(&mut peers, &windows).len(), 12);
    }

    #[test]
    fn a_holder_that_was_forgotten_goes_on_from_what_it_had_left() {
        let mut windows = Windows::new(NOON);
        add(&mut windows, NOON, 10);
        let mut peers = Peers::default();
        let counts =
            |peers: &mut Peers| peers.counts(&windows, WindowKind::Daily, Scope::Recent, NOON)[0].used;
        assert_eq!(counts(&mut peers), used(0), "first it only asks");
        peers.merge(&windows, &[day(5, 100)], NOON);
        assert_eq!(sum(&peers, &windows, WindowKind::Daily), used(105));
        assert_eq!(counts(&mut peers), used(110));
        peers.merge(&windows, &[day(5, 110)], NOON);
        assert_eq!(sum(&peers, &windows, WindowKind::Daily), used(105), "it is asked once");
    }

    #[test]
    fn a_ledger_that_is_older_than_what_it_had_told_goes_on_from_there() {
        let mut windows = Windows::new(NOON);
        let mut peers = Peers::default();
        add(&mut windows, NOON, 60);
        // It had told of 100, and 60 are in its ledger.
        peers.merge(&windows, &[day(5, 100)], Timestamp(0));
        assert_eq!(sum(&peers, &windows, WindowKind::Daily), used(45));
        add(&mut windows, NOON, 10);
        let told = peers.counts(&windows, WindowKind::Daily, Scope::Recent, Timestamp(0))[0].used;
        assert_eq!(told, used(110));
        peers.merge(&windows, &[day(5, 110)], Timestamp(0));
        assert_eq!(sum(&peers, &windows, WindowKind::Daily), used(45), "it is asked once");
    }

    #[test]
    fn instances_apart_share_what_was_left_and_a_new_window_from_its_start() {
        let mut windows = Windows::new(NOON);
        add(&mut windows, NOON, 100);
        let mut peers = Peers::default();
        peers.merge(&windows, &[day(300, 100)], Timestamp(0));
        peers.partition(&windows, WindowKind::Daily, Some(3));
        // 600 are left, 200 of them for us, however much of them we use.
        assert_eq!(reserved(&peers, &windows), used(400));
        add(&mut windows, NOON, 150);
        assert_eq!(reserved(&peers, &windows), used(400));
        windows.advance(NOON.next_day_start());
        add(&mut windows, NOON.next_day_start(), 50);
        assert_eq!(reserved(&peers, &windows), used(667));
        peers.partition(&windows, WindowKind::Daily, None);
        assert_eq!(reserved(&peers, &windows), used(0));
    }

    #[test]
    fn what_the_others_used_of_their_part_takes_nothing_of_ours() {
        let mut windows = Windows::new(NOON);
        let mut peers = Peers::default();
        add(&mut windows, NOON, 100);
        peers.counts(&windows, WindowKind::Daily, Scope::Recent, Timestamp(0));
        peers.merge(&windows, &[day(100, 0)], Timestamp(0));
        // What was used since then no peer knows: it comes out of our part.
        add(&mut windows, NOON, 50);
        peers.partition(&windows, WindowKind::Daily, Some(2));
        // 800 were left, so 100 + 400 are theirs and as much is ours.
        for (totals, kept) in [(100, 400), (400, 100), (500, 0), (620, 0)] {
            peers.merge(&windows, &[day(totals, 100)], Timestamp(0));
            assert_eq!(reserved(&peers, &windows), used(kept), "{totals}");
        }
        peers.weigh(&windows, &limit());
        assert_eq!(peers.weight(), Weight { peers: used(620), reserved: used(0) });
    }
}
