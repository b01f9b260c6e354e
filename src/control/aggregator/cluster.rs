//! The aggregator's part in a cluster: rounds go out, what comes back is taken in, and a holder that is new here
//! waits a moment for what the peers know of it.

use super::Aggregator;
use crate::cluster::{ClusterEvent, DEADLINE, Link, Schedule};
use crate::setting::SettingUpdate;
use std::time::Duration;
use tokenist_core::catalog::EntryId;
use tokenist_core::id::{Holder, KeyHash};
use tokenist_core::ledger::{Ledger, Slot};
use tokenist_core::time::Timestamp;
use tokenist_handoff::{Answer, Order};

#[derive(Debug)]
pub(super) struct ClusterSync {
    link: Link,
    schedule: Schedule,
    /// Why limits do not hold over all instances.
    failure: Option<String>,
    /// Why settings of other instances come late, though limits hold.
    feed_failure: Option<String>,
    /// Rounds may go out.
    is_found: bool,
    instance_count: u32,
    /// How many there were in touch, and how many of them have just shown themselves.
    known: u32,
    present: u32,
    /// It was lost, and is found again since then.
    found_at: Option<Duration>,
    waiting: Vec<Waiting>,
    /// How long the aggregator runs.
    elapsed: Duration,
}

/// An admission that waits for the first exchange of its holders.
#[derive(Debug)]
struct Waiting {
    shard: usize,
    ticket: u64,
    answer: Answer,
    unknown: Vec<Slot>,
    deadline: Duration,
}

/// The failure before the first try.
const NOT_YET: &str = "Redis has not been reached yet";
/// How long an admission waits at most.
const WAIT: Duration = DEADLINE.checked_div(2).expect("two is not zero");
/// How long after a loss each goes on with its part, at least. Others may find the exchange later than this instance,
/// and what they counted meanwhile is only known once they do.
const GRACE: Duration = Duration::from_secs(2);
/// How long it waits for peers that have not shown themselves yet.
const GRACE_MAX: Duration = Duration::from_secs(10);
/// Admissions that may wait. Past it they are answered by what is known here.
const WAITING_MAX: usize = 10_000;

impl ClusterSync {
    /// Whether one more may wait for what the peers know.
    fn takes_more(&self) -> bool {
        self.is_found && self.waiting.len() < WAITING_MAX
    }
}

impl Aggregator {
    /// From now on limits hold over all instances that exchange by way of this link, once it has told that it
    /// [`ClusterEvent::Found`] them.
    pub fn join(&mut self, link: Link) {
        let instance_count = link.instances_min;
        let failure = Some(NOT_YET.to_owned());
        let (schedule, waiting) = (Schedule::default(), Vec::new());
        self.ledger.partition(Some(instance_count));
        self.cluster = Some(ClusterSync {
            link,
            schedule,
            failure,
            feed_failure: None,
            instance_count,
            known: 1,
            present: 0,
            is_found: false,
            found_at: None,
            waiting,
            elapsed: Duration::ZERO,
        });
    }

    /// Sends a round if one is due, and answers admissions that have waited for long enough. `elapsed` only grows.
    /// Gives when to come again, if nothing happens before.
    pub fn exchange(&mut self, elapsed: Duration, now: Timestamp) -> Option<Duration> {
        let touched = self.ledger.take_touched();
        self.rejoin(elapsed, now);
        let cluster = self.cluster.as_mut()?;
        cluster.elapsed = elapsed;
        for slot in touched {
            cluster.schedule.touch(slot, self.ledger.record(slot), cluster.instance_count, elapsed);
        }
        let mut next = None;
        if cluster.is_found {
            if let Some(round) = cluster.schedule.round(&mut self.ledger, &self.accounts, elapsed, now)
                && !cluster.link.send(round)
            {
                // The thread of the cluster does not take it: the process is about to end, or an event of its loss is
                // on its way.
                cluster.schedule.start_over(elapsed);
            }
            next = cluster.schedule.next_at();
        }
        self.answer_waiting(|_, waiting, elapsed| elapsed >= waiting.deadline);
        let deadlines =
            self.cluster.iter().flat_map(|cluster| &cluster.waiting).map(|waiting| waiting.deadline);
        // That a peer is back comes as an event, and is looked at then.
        let found_at = self.cluster.as_ref().and_then(|cluster| cluster.found_at);
        let grace = found_at.map(|at| if elapsed < at + GRACE { at + GRACE } else { at + GRACE_MAX });
        deadlines.chain(next).chain(grace).min()
    }

    /// All peers have contributed what was counted while they were partitioned, or have had time to: the whole limit
    /// holds again.
    fn rejoin(&mut self, elapsed: Duration, now: Timestamp) {
        let Some(cluster) = &mut self.cluster else { return };
        let Some(found_at) = cluster.found_at else { return };
        let are_back = elapsed >= found_at + GRACE && cluster.present >= cluster.known;
        if are_back || elapsed >= found_at + GRACE_MAX {
            cluster.found_at = None;
            cluster.failure = None;
            self.ledger.partition(None);
            self.ledger.tick(now);
            self.publish();
        }
    }

    /// Takes in what the other end of the link says.
    pub fn cluster_event(&mut self, event: ClusterEvent, now: Timestamp) {
        let Some(cluster) = &mut self.cluster else { return };
        match event {
            ClusterEvent::PeerTotals(answers) => {
                cluster.schedule.round_ended();
                for (holder, totals) in answers {
                    if let Some(slot) = self.ledger.merge(&holder, &totals, now) {
                        cluster.schedule.merged(slot, self.ledger.record(slot), cluster.elapsed);
                    }
                }
            }
            ClusterEvent::Instances { count, present } => {
                (cluster.known, cluster.present) = (count, present);
                cluster.instance_count = count.max(cluster.link.instances_min);
            }
            ClusterEvent::ChangeFeed(failure) => cluster.feed_failure = failure,
            ClusterEvent::Lost(cause) => {
                cluster.failure = Some(cause);
                cluster.is_found = false;
                cluster.found_at = None;
                cluster.schedule.round_ended();
                self.ledger.partition(Some(cluster.instance_count));
            }
            ClusterEvent::Found => {
                cluster.schedule.start_over(cluster.elapsed);
                cluster.is_found = true;
                // Where it is only emptied, or reached for the first time, no instance has gone on without its peers.
                let was_lost = cluster.failure.as_deref().is_some_and(|failure| failure != NOT_YET);
                if was_lost {
                    cluster.found_at.get_or_insert(cluster.elapsed);
                } else {
                    cluster.failure = None;
                    self.ledger.partition(None);
                }
            }
        }
        self.ledger.tick(now);
        self.publish();
        // Once they are lost, there is no more to wait for.
        let is_lost = self.cluster.as_ref().is_none_or(|cluster| !cluster.is_found);
        self.answer_waiting(|ledger, waiting, _| {
            is_lost || waiting.unknown.iter().all(|&slot| ledger.record(slot).knows_peers())
        });
    }

    /// Answers a shard, at once or when the peers were heard of its holders.
    pub(super) fn answer(&mut self, shard: usize, ticket: u64, key: Option<KeyHash>, answer: Answer) {
        let unknown = match (&self.cluster, &answer) {
            (Some(cluster), Answer::Usage(usage)) if cluster.takes_more() => {
                let slot = self.ledger.find(&Holder::User(usage.user_id.clone()));
                slot.into_iter().filter(|&slot| !self.ledger.record(slot).knows_peers()).collect()
            }
            (Some(cluster), Answer::Admitted(admitted)) if cluster.takes_more() => {
                let user = Holder::User(admitted.user_id.clone());
                let org = admitted.org_id.clone().map(Holder::Org);
                let feature = admitted.feature_id.clone().map(Holder::Feature);
                let slots = [Some(user), org, feature, key.map(Holder::Key)];
                let slots = slots.into_iter().flatten().filter_map(|holder| self.ledger.find(&holder));
                slots.filter(|&slot| !self.ledger.record(slot).knows_peers()).collect()
            }
            _ => Vec::new(),
        };
        match &mut self.cluster {
            Some(cluster) if !unknown.is_empty() => {
                let deadline = cluster.elapsed + WAIT;
                cluster.waiting.push(Waiting { shard, ticket, answer, unknown, deadline });
            }
            Some(_) | None => self.send(shard, Order::Admission { ticket, answer }),
        }
    }

    fn answer_waiting(&mut self, is_over: impl Fn(&Ledger, &Waiting, Duration) -> bool) {
        let Some(cluster) = &mut self.cluster else { return };
        let (ledger, elapsed) = (&self.ledger, cluster.elapsed);
        let over = cluster.waiting.extract_if(.., |waiting| is_over(ledger, waiting, elapsed));
        let over: Vec<Waiting> = over.collect();
        for Waiting { shard, ticket, mut answer, .. } in over {
            if let Answer::Usage(usage) = &mut answer
                && let Some(slot) = self.ledger.find(&Holder::User(usage.user_id.clone()))
            {
                usage.used = self.ledger.record(slot).counted();
            }
            self.send(shard, Order::Admission { ticket, answer });
        }
    }

    /// Another holder has this slot now.
    pub(super) fn unwatch(&mut self, slot: Slot) {
        if let Some(cluster) = &mut self.cluster {
            cluster.schedule.forget(slot);
        }
    }

    /// Tells the other instances what was set here.
    pub(super) fn announce(&mut self, slot: Slot) {
        if let Some(cluster) = &self.cluster {
            cluster.link.announce(SettingUpdate::Holder(self.ledger.state(slot)));
        }
    }

    pub(super) fn announce_key(&mut self, hash: &KeyHash) {
        if let (Some(cluster), Some(key)) = (&self.cluster, self.ledger.stamped_key(hash)) {
            cluster.link.announce(SettingUpdate::Key(key.clone()));
        }
    }

    pub(super) fn announce_entry(&mut self, id: &EntryId) {
        if let (Some(cluster), Some(entry)) = (&self.cluster, self.ledger.entry(id)) {
            cluster.link.announce(SettingUpdate::Entry(entry.clone()));
        }
    }

    /// Why limits do not hold over all instances, or settings do not at once. `None` where they do, or there is only
    /// this one.
    pub(super) fn cluster_failure(&self) -> Option<&str> {
        let cluster = self.cluster.as_ref()?;
        cluster.failure.as_deref().or(cluster.feed_failure.as_deref())
    }

    /// How many instances there are, as far as is known. `None` where this is the only one by configuration.
    pub(super) fn instance_count(&self) -> Option<u32> {
        self.cluster.as_ref().map(|cluster| cluster.instance_count)
    }
}
