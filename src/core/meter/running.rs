//! Usage that grows: totals that the provider states again and again, and time that is billed as it passes.
//!
//! What is booked is always what a sum has grown by, priced as the difference of two prices of the whole, so that a thousand
//! small bookings cost what one large one does, to the nano-dollar. Where the price changes it is so from there on.

use super::Charge;
use crate::money::NanoUsd;
use crate::price::Price;
use crate::terms::Terms;
use crate::time::Instant;
use crate::usage::Usage;
use std::sync::Arc;

/// Totals of one session that are told apart; what states more keys adds to the last.
pub(super) const TOTALS_MAX: usize = 16;

/// Time is booked in pieces of at least so long: what a limit on it can be passed by.
const BOOKED_EACH_MS: u64 = 5_000;

/// Time ahead of what is stated is charged in pieces of at least so long, and booked once nothing was stated for as long as
/// the next says.
const CHARGED_EACH_MS: u64 = 1_000;
const STATED_EACH_MS: u64 = 60_000;

/// A sum of which a part is booked.
#[derive(Clone, Debug)]
struct Total {
    key: u64,
    price: Arc<Price>,
    usage: Usage,
    cost: NanoUsd,
    /// What there was, and what it cost, when this price came to hold.
    before: (Usage, NanoUsd),
}

/// What of a total is to be booked now.
#[derive(Debug, PartialEq)]
pub(super) struct Growth {
    pub(super) usage: Usage,
    pub(super) cost: NanoUsd,
    pub(super) price: Arc<Price>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Running {
    totals: Vec<Total>,
    /// Since when time is billed that is not booked.
    clock: Option<Instant>,
    elapsed_ms: u64,
    /// How long the sound was that came in a form which holds no more.
    pub(super) heard_ms: u64,
    /// The application has said in which form its sound comes.
    pub(super) form_is_asked: bool,
    ahead: Ahead,
}

/// The session's time as it is estimated, ahead of what the provider states.
#[derive(Clone, Debug, Default)]
struct Ahead {
    /// Since when it grows, where it does so by the clock.
    since: Option<Instant>,
    /// What was stated is all.
    is_over: bool,
    /// When something was booked last.
    booked_at: Option<Instant>,
    /// What is charged beyond what is booked, for so long in all.
    charged: Charge,
    charged_ms: u64,
}

impl Running {
    /// A total is stated. The greatest of each kind holds: an older one that comes late takes nothing back.
    pub(super) fn state(
        &mut self,
        key: u64,
        usage: Usage,
        price: &Arc<Price>,
        terms: &Terms<'_>,
    ) -> Option<Growth> {
        let total = self.total(key, price);
        if total.price != *price {
            (total.price, total.before) = (Arc::clone(price), (total.usage, total.cost));
        }
        let greatest = total.usage.zip(usage, u64::max);
        total.grow_to(greatest, terms)
    }

    /// Time is billed from now on, or no more; what has passed until now is to be booked.
    pub(super) fn set_clock(
        &mut self,
        runs: bool,
        now: Instant,
        key: u64,
        price: &Arc<Price>,
    ) -> Option<Growth> {
        let growth = self.elapse(now, key, price);
        self.clock = runs.then_some(now);
        growth
    }

    /// No time is billed until it runs again.
    pub(super) fn stop(&mut self) {
        self.clock = None;
        self.ahead = Ahead::default();
    }

    /// What has passed since this was last asked.
    pub(super) fn elapse(&mut self, now: Instant, key: u64, price: &Arc<Price>) -> Option<Growth> {
        let since = self.clock.replace(now);
        let Some(since) = since else {
            self.clock = None;
            return None;
        };
        self.elapsed_ms = self.elapsed_ms.saturating_add(now.since(since));
        let duration_ms = self.elapsed_ms;
        self.state(key, Usage { duration_ms, requests: 1, ..Usage::default() }, price, &Terms::default())
    }

    /// Whether so much time has passed that it is worth a booking.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.clock.is_some_and(|since| now.since(since) >= BOOKED_EACH_MS)
    }

    /// The session's time grows by the clock from now on, or no more. What was charged ahead is to be taken back.
    pub(super) fn set_ahead(&mut self, grows: bool, now: Instant) -> Charge {
        // That it grows may be said again; it goes on from where it was.
        if grows && self.ahead.since.is_some() && !self.ahead.is_over {
            return Charge::default();
        }
        self.ahead.since = grows.then_some(now);
        self.ahead.is_over = !grows;
        self.take_ahead(now)
    }

    /// How long the session is by estimate: by its sound where that is billed, else by the clock if its time grows by that.
    pub(super) fn estimated_ms(&self, sound_ms: Option<u64>, now: Instant) -> Option<u64> {
        let by_clock = || self.ahead.since.map(|since| now.since(since));
        sound_ms.or_else(by_clock).filter(|ms| *ms > 0 && !self.ahead.is_over)
    }

    /// Whether there is time that is estimated and not stated yet.
    pub(super) fn is_open(&self, sound_ms: Option<u64>) -> bool {
        !self.ahead.is_over && sound_ms.map_or(self.ahead.since.is_some(), |ms| ms > 0)
    }

    /// What an estimate of the session's time has charged is taken back: it is booked now, or was not due.
    pub(super) fn take_ahead(&mut self, now: Instant) -> Charge {
        self.ahead.booked_at = Some(now);
        self.ahead.charged_ms = 0;
        std::mem::take(&mut self.ahead.charged)
    }

    /// The session's time is `ms` by estimate: what more is to be charged for that.
    pub(super) fn charge_ahead(&mut self, ms: u64, key: u64, price: &Price) -> Charge {
        if ms < self.ahead.charged_ms.saturating_add(CHARGED_EACH_MS) {
            return Charge::default();
        }
        self.ahead.charged_ms = ms;
        let total = self.totals.iter().find(|total| total.key == key);
        let booked = total.map(|total| (total.usage, total.cost)).unwrap_or_default();
        let usage = Usage { duration_ms: booked.0.duration_ms.max(ms), ..booked.0 };
        let price = total.map_or(price, |total| &total.price);
        let charged = Charge { cost: price.cost(&usage, &Terms::default()) - booked.1, tokens: 0 };
        charged - std::mem::replace(&mut self.ahead.charged, charged)
    }

    /// Whether nothing was booked for so long that an estimate of the session's time is.
    pub(super) fn is_unstated(&mut self, now: Instant) -> bool {
        now.since(*self.ahead.booked_at.get_or_insert(now)) >= STATED_EACH_MS
    }

    fn total(&mut self, key: u64, price: &Arc<Price>) -> &mut Total {
        let found = self.totals.iter().position(|total| total.key == key);
        let index = found.unwrap_or_else(|| {
            if self.totals.len() < TOTALS_MAX {
                let (price, usage, cost) = (Arc::clone(price), Usage::default(), NanoUsd::ZERO);
                self.totals.push(Total { key, price, usage, cost, before: (usage, cost) });
            }
            self.totals.len() - 1
        });
        &mut self.totals[index]
    }
}

impl Total {
    fn grow_to(&mut self, usage: Usage, terms: &Terms<'_>) -> Option<Growth> {
        let more = usage.zip(self.usage, u64::saturating_sub);
        if more == Usage::default() {
            return None;
        }
        let (usage_before, cost_before) = self.before;
        let since = usage.zip(usage_before, u64::saturating_sub);
        let cost = cost_before + self.price.cost(&since, terms);
        let growth = Growth { usage: more, cost: cost - self.cost, price: Arc::clone(&self.price) };
        (self.usage, self.cost) = (usage, cost);
        Some(growth)
    }
}
