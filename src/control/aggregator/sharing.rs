//! The aggregator's part in a fleet: rounds go out, what comes back is taken in, and whoever is new here waits a moment
//! for what the others know of it.

use super::Aggregator;
use crate::fact::Fact;
use crate::fleet::{DEADLINE, Link, Schedule, Word};
use std::time::Duration;
use tokenist_core::catalog::EntryId;
use tokenist_core::id::{Holder, KeyHash};
use tokenist_core::ledger::{Ledger, Place};
use tokenist_core::time::Timestamp;
use tokenist_handoff::{Answer, Order};

#[derive(Debug)]
pub(super) struct Sharing {
    link: Link,
    schedule: Schedule,
    /// Why limits do not hold over all instances.
    failure: Option<String>,
    /// Why settings of other instances come late, though limits hold.
    news_failure: Option<String>,
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
    unknown: Vec<Place>,
    deadline: Duration,
}

/// The failure of one who has not tried.
const NOT_YET: &str = "Redis has not been reached yet";
/// How long an admission waits at most.
const WAIT: Duration = DEADLINE.checked_div(2).expect("two is not zero");
/// How long after a loss each goes on with its part, at least. Others may find the exchange later than this instance,
/// and what they counted meanwhile is only known once they do.
const GRACE: Duration = Duration::from_secs(2);
/// How long it waits for those who have not shown themselves yet.
const GRACE_MAX: Duration = Duration::from_secs(10);
/// Admissions that may wait. Past it they are answered by what is known here.
const WAITING_MAX: usize = 10_000;

impl Sharing {
    /// Whether one more may wait for what the others know.
    fn takes_more(&self) -> bool {
        self.is_found && self.waiting.len() < WAITING_MAX
    }
}

impl Aggregator {
    /// From now on limits hold over all instances that exchange by way of this link, once it has told that it
    /// [`Word::Found`] them.
    pub fn join(&mut self, link: Link) {
        let instance_count = link.instances_min;
        let failure = Some(NOT_YET.to_owned());
        let (schedule, waiting) = (Schedule::default(), Vec::new());
        self.ledger.part(Some(instance_count));
        self.sharing = Some(Sharing {
            link,
            schedule,
            failure,
            news_failure: None,
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
        let sharing = self.sharing.as_mut()?;
        sharing.elapsed = elapsed;
        for place in touched {
            sharing.schedule.touch(place, self.ledger.record(place), sharing.instance_count, elapsed);
        }
        let mut next = None;
        if sharing.is_found {
            if let Some(round) = sharing.schedule.round(&mut self.ledger, &self.accounts, elapsed, now)
                && !sharing.link.send(round)
            {
                // Nobody is there to take it: the process is about to end, or a word of its loss is on its way.
                sharing.schedule.start_over(elapsed);
            }
            next = sharing.schedule.next_at();
        }
        self.answer_waiting(|_, waiting, elapsed| elapsed >= waiting.deadline);
        let deadlines =
            self.sharing.iter().flat_map(|sharing| &sharing.waiting).map(|waiting| waiting.deadline);
        // That somebody is back comes as a word, and is looked at then.
        let found_at = self.sharing.as_ref().and_then(|sharing| sharing.found_at);
        let grace = found_at.map(|at| if elapsed < at + GRACE { at + GRACE } else { at + GRACE_MAX });
        deadlines.chain(next).chain(grace).min()
    }

    /// Everybody has left what was counted while nobody was heard, or has had time to: the whole limit holds for all
    /// again.
    fn rejoin(&mut self, elapsed: Duration, now: Timestamp) {
        let Some(sharing) = &mut self.sharing else { return };
        let Some(found_at) = sharing.found_at else { return };
        let are_back = elapsed >= found_at + GRACE && sharing.present >= sharing.known;
        if are_back || elapsed >= found_at + GRACE_MAX {
            sharing.found_at = None;
            sharing.failure = None;
            self.ledger.part(None);
            self.ledger.tick(now);
            self.publish();
        }
    }

    /// Takes in what the other end of the link says.
    pub fn word(&mut self, word: Word, now: Timestamp) {
        let Some(sharing) = &mut self.sharing else { return };
        match word {
            Word::Heard(answers) => {
                sharing.schedule.round_ended();
                for (holder, heard) in answers {
                    if let Some(place) = self.ledger.hear(&holder, &heard, now) {
                        sharing.schedule.heard(place, self.ledger.record(place), sharing.elapsed);
                    }
                }
            }
            Word::Instances { count, present } => {
                (sharing.known, sharing.present) = (count, present);
                sharing.instance_count = count.max(sharing.link.instances_min);
            }
            Word::News(failure) => sharing.news_failure = failure,
            Word::Lost(cause) => {
                sharing.failure = Some(cause);
                sharing.is_found = false;
                sharing.found_at = None;
                sharing.schedule.round_ended();
                self.ledger.part(Some(sharing.instance_count));
            }
            Word::Found => {
                sharing.schedule.start_over(sharing.elapsed);
                sharing.is_found = true;
                // Where it is only emptied, or reached for the first time, nobody has gone on without the others.
                let was_lost = sharing.failure.as_deref().is_some_and(|failure| failure != NOT_YET);
                if was_lost {
                    sharing.found_at.get_or_insert(sharing.elapsed);
                } else {
                    sharing.failure = None;
                    self.ledger.part(None);
                }
            }
        }
        self.ledger.tick(now);
        self.publish();
        // Once they are lost, nobody can say more.
        let is_lost = self.sharing.as_ref().is_none_or(|sharing| !sharing.is_found);
        self.answer_waiting(|ledger, waiting, _| {
            is_lost || waiting.unknown.iter().all(|&place| ledger.record(place).knows_others())
        });
    }

    /// Answers a shard, at once or when the others were heard of its holders.
    pub(super) fn answer(&mut self, shard: usize, ticket: u64, key: Option<KeyHash>, answer: Answer) {
        let unknown = match (&self.sharing, &answer) {
            (Some(sharing), Answer::Usage(usage)) if sharing.takes_more() => {
                let place = self.ledger.find(&Holder::User(usage.user_id.clone()));
                place.into_iter().filter(|&place| !self.ledger.record(place).knows_others()).collect()
            }
            (Some(sharing), Answer::Admitted(admitted)) if sharing.takes_more() => {
                let user = Holder::User(admitted.user_id.clone());
                let org = admitted.org_id.clone().map(Holder::Org);
                let feature = admitted.feature_id.clone().map(Holder::Feature);
                let places = [Some(user), org, feature, key.map(Holder::Key)];
                let places = places.into_iter().flatten().filter_map(|holder| self.ledger.find(&holder));
                places.filter(|&place| !self.ledger.record(place).knows_others()).collect()
            }
            _ => Vec::new(),
        };
        match &mut self.sharing {
            Some(sharing) if !unknown.is_empty() => {
                let deadline = sharing.elapsed + WAIT;
                sharing.waiting.push(Waiting { shard, ticket, answer, unknown, deadline });
            }
            Some(_) | None => self.send(shard, Order::Admission { ticket, answer }),
        }
    }

    fn answer_waiting(&mut self, is_over: impl Fn(&Ledger, &Waiting, Duration) -> bool) {
        let Some(sharing) = &mut self.sharing else { return };
        let (ledger, elapsed) = (&self.ledger, sharing.elapsed);
        let over = sharing.waiting.extract_if(.., |waiting| is_over(ledger, waiting, elapsed));
        let over: Vec<Waiting> = over.collect();
        for Waiting { shard, ticket, mut answer, .. } in over {
            if let Answer::Usage(usage) = &mut answer
                && let Some(place) = self.ledger.find(&Holder::User(usage.user_id.clone()))
            {
                usage.used = self.ledger.record(place).counted();
            }
            self.send(shard, Order::Admission { ticket, answer });
        }
    }

    /// Another holder sits in this place now.
    pub(super) fn unwatch(&mut self, place: Place) {
        if let Some(sharing) = &mut self.sharing {
            sharing.schedule.forget(place);
        }
    }

    /// Tells the other instances what was set here.
    pub(super) fn announce(&mut self, place: Place) {
        if let Some(sharing) = &self.sharing {
            sharing.link.announce(Fact::Holder(self.ledger.state(place)));
        }
    }

    pub(super) fn announce_key(&mut self, hash: &KeyHash) {
        if let (Some(sharing), Some(key)) = (&self.sharing, self.ledger.stamped_key(hash)) {
            sharing.link.announce(Fact::Key(key.clone()));
        }
    }

    pub(super) fn announce_entry(&mut self, id: &EntryId) {
        if let (Some(sharing), Some(entry)) = (&self.sharing, self.ledger.entry(id)) {
            sharing.link.announce(Fact::Entry(entry.clone()));
        }
    }

    /// Why limits do not hold over all instances, or settings do not at once. `None` where they do, or there is only
    /// this one.
    pub(super) fn fleet_failure(&self) -> Option<&str> {
        let sharing = self.sharing.as_ref()?;
        sharing.failure.as_deref().or(sharing.news_failure.as_deref())
    }

    /// How many instances there are, as far as is known. `None` where this is the only one by configuration.
    pub(super) fn instance_count(&self) -> Option<u32> {
        self.sharing.as_ref().map(|sharing| sharing.instance_count)
    }
}
