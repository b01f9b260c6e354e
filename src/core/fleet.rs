//! What several instances count for one holder: what this one leaves for the others, and what it knows of theirs.
//!
//! Start at [`Record::share`](crate::record::Record::share) and [`Record::hear`](crate::record::Record::hear). Figures
//! are exchanged by [`Cell`], so that the usage of others leaves a rolling window exactly as ours does.
//!
//! Invariant: what was heard of a cell only grows. A place of exchange that forgets, or answers late or twice, sets
//! nobody free; a cell leaves with its window and not before.

use crate::id::Holder;
use crate::limit::{Limit, Mode, OnRedisDown, WindowKind};
use crate::money::NanoUsd;
use crate::time::{DAY_MS, Timestamp};
use crate::verdict::Used;
use crate::window::{BUCKET_MS, Windows};

/// A span whose sum is exchanged by itself: a day, a month, all time, or a rolling window's five minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell {
    pub window: WindowKind,
    pub start: Timestamp,
}

/// What this instance has counted in a cell. It only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    pub cell: Cell,
    pub used: Used,
}

/// What this instance has counted for a holder, to be exchanged for what the others have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    pub holder: Holder,
    /// Cells that are zero are only asked for.
    pub counts: Vec<Count>,
}

/// The answer for one cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    pub cell: Cell,
    /// The sum over all other instances.
    pub others: Used,
    /// What this instance had left there before.
    pub own: Used,
}

/// Which cells to exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those that may have changed since they were last heard of.
    Recent,
    /// All that count.
    Whole,
}

/// What one record knows of the other instances.
#[derive(Clone, Debug, Default)]
pub(crate) struct Others {
    /// Cells of which something was heard, in order.
    cells: Vec<Foreign>,
    /// By window, the latest cell that was heard of.
    heard_upto: [Option<Timestamp>; 4],
    apart: Option<Apart>,
    weight: Weight,
    /// The first cell that the weight counts, as long as the weight is right.
    weighed_from: Option<Timestamp>,
}

/// What counts against a limit besides our own usage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    pub(crate) others: Used,
    /// Kept for instances that cannot be heard.
    pub(crate) reserve: Used,
}

#[derive(Clone, Copy, Debug)]
struct Foreign {
    cell: Cell,
    others: Used,
    /// What this instance itself had counted before it forgot the holder for a while.
    forgotten: Used,
}

/// The other instances cannot be heard.
#[derive(Clone, Copy, Debug)]
struct Apart {
    instance_count: u32,
    /// The current cell when that began, and what had been counted here in it.
    since: Cell,
    own: Used,
}

impl Cell {
    /// When nothing of it counts any more; `None` is never.
    pub fn end(self) -> Option<Timestamp> {
        match self.window {
            WindowKind::Daily => Some(self.start.next_day_start()),
            WindowKind::Monthly => Some(self.start.next_month_start()),
            WindowKind::Rolling24h => Some(self.start.plus_ms(DAY_MS + BUCKET_MS)),
            WindowKind::Total => None,
        }
    }
}

impl Limit {
    /// Whether it can be reached, so that it matters what others have counted.
    pub fn is_bounded(&self) -> bool {
        self.max_cost.is_some() || self.max_tokens.is_some()
    }
}

impl Others {
    pub(crate) fn weight(&self) -> Weight {
        self.weight
    }

    /// Brings the weight up to date. Cheap while nothing was heard, set or left behind.
    pub(crate) fn weigh(&mut self, windows: &Windows, limit: &Limit) {
        let from = windows.from(limit.window);
        if self.weighed_from == Some(from) {
            return;
        }
        self.cells.retain(|foreign| foreign.cell.start >= windows.from(foreign.cell.window));
        let keeps = limit.mode == Mode::Enforce && limit.on_redis_down != OnRedisDown::Allow;
        self.weight = Weight {
            others: self.sum(windows, limit.window),
            reserve: if keeps { self.reserve(windows, limit) } else { Used::default() },
        };
        self.weighed_from = Some(from);
    }

    /// What counts in the window besides our own.
    fn sum(&self, windows: &Windows, window: WindowKind) -> Used {
        self.current(windows, window).fold(Used::default(), |sum, foreign| sum.plus(foreign.used()))
    }

    /// The oldest cell that counts.
    pub(crate) fn oldest(&self, windows: &Windows, window: WindowKind) -> Option<Cell> {
        self.current(windows, window).next().map(|foreign| foreign.cell)
    }

    fn current(&self, windows: &Windows, window: WindowKind) -> impl Iterator<Item = &Foreign> {
        let from = windows.from(window);
        self.cells.iter().filter(move |foreign| foreign.cell.window == window && foreign.cell.start >= from)
    }

    /// Whether a whole window has been heard of, up to the present but for a cell.
    pub(crate) fn are_known(&self, windows: &Windows, window: WindowKind) -> bool {
        let upto = self.heard_upto[window as usize];
        let enough = match window {
            WindowKind::Rolling24h => windows.newest(window).minus_ms(BUCKET_MS),
            WindowKind::Daily | WindowKind::Monthly | WindowKind::Total => windows.newest(window),
        };
        upto.is_some_and(|upto| upto >= enough)
    }

    /// `whole_from`: what this instance has counted since then it has not forgotten.
    pub(crate) fn counts(
        &self,
        windows: &Windows,
        window: WindowKind,
        scope: Scope,
        whole_from: Timestamp,
    ) -> Vec<Count> {
        let from = windows.from(window);
        let newest = windows.newest(window);
        let first = match (window, scope, self.heard_upto[window as usize]) {
            // The one before may still have grown by what came late.
            (WindowKind::Rolling24h, Scope::Recent, Some(upto)) => from.max(upto.minus_ms(BUCKET_MS)),
            (WindowKind::Rolling24h, _, _) => from,
            (WindowKind::Daily | WindowKind::Monthly | WindowKind::Total, _, _) => newest,
        };
        let mut counts = Vec::new();
        let mut start = first;
        while start <= newest {
            let cell = Cell { window, start };
            // What may be greater over there is read before it is written, or it would be lost.
            let used = match self.is_whole(cell, whole_from) {
                true => windows.used_in(cell).plus(self.forgotten(cell)),
                false => Used::default(),
            };
            counts.push(Count { cell, used });
            start = start.plus_ms(BUCKET_MS);
            if window != WindowKind::Rolling24h {
                break;
            }
        }
        counts
    }

    /// Whether our count of the cell is all that this instance ever counted in it.
    fn is_whole(&self, cell: Cell, whole_from: Timestamp) -> bool {
        let is_heard = self.heard_upto[cell.window as usize].is_some_and(|upto| cell.start <= upto);
        is_heard || cell.start >= whole_from
    }

    fn forgotten(&self, cell: Cell) -> Used {
        let found = self.cells.binary_search_by_key(&cell, |foreign| foreign.cell);
        found.map_or(Used::default(), |index| self.cells[index].forgotten)
    }

    pub(crate) fn hear(&mut self, heard: &[Heard], whole_from: Timestamp) {
        self.weighed_from = None;
        for &Heard { cell, others, own } in heard {
            let forgotten = if self.is_whole(cell, whole_from) { Used::default() } else { own };
            if others == Used::default() && forgotten == Used::default() {
                continue;
            }
            match self.cells.binary_search_by_key(&cell, |foreign| foreign.cell) {
                Ok(index) => {
                    let known = &mut self.cells[index];
                    known.others = known.others.join(others);
                    known.forgotten = known.forgotten.join(forgotten);
                }
                Err(index) => self.cells.insert(index, Foreign { cell, others, forgotten }),
            }
        }
        for &Heard { cell, .. } in heard {
            let upto = &mut self.heard_upto[cell.window as usize];
            *upto = (*upto).max(Some(cell.start));
        }
    }

    /// Drops what lies in a future that a wrong clock had made up.
    pub(crate) fn set_back(&mut self, windows: &Windows) {
        self.weighed_from = None;
        self.cells.retain(|foreign| foreign.cell.start <= windows.newest(foreign.cell.window));
        for window in WindowKind::ALL {
            let upto = &mut self.heard_upto[window as usize];
            *upto = upto.filter(|&upto| upto <= windows.newest(window));
        }
    }

    pub(crate) fn is_apart(&self) -> bool {
        self.apart.is_some()
    }

    /// From now on so many instances, this one included, share what is left; `None`: they hear each other again.
    pub(crate) fn part(&mut self, windows: &Windows, window: WindowKind, instance_count: Option<u32>) {
        self.weighed_from = None;
        let since = Cell { window, start: windows.newest(window) };
        self.apart = instance_count.map(|instance_count| Apart {
            instance_count: instance_count.max(1),
            since,
            own: windows.used_in(since),
        });
    }

    /// Another limit holds. Where it sums over another window, what is left there is shared anew.
    pub(crate) fn set_limit(&mut self, windows: &Windows, window: WindowKind) {
        self.weighed_from = None;
        if let Some(apart) = self.apart.filter(|apart| apart.since.window != window) {
            self.part(windows, window, Some(apart.instance_count));
        }
    }

    /// What of the limit is kept for the instances that cannot be heard.
    fn reserve(&self, windows: &Windows, limit: &Limit) -> Used {
        let Some(apart) = self.apart else { return Used::default() };
        let others = self.sum(windows, limit.window);
        let before = windows.used_before(apart.since, apart.own);
        let kept = |limit: u64, used: u64| {
            let left = limit.saturating_sub(used);
            left - left / u64::from(apart.instance_count)
        };
        let cost = limit.max_cost.map(|max| {
            kept(unsigned(max.0), unsigned(others.cost.0).saturating_add(unsigned(before.cost.0)))
        });
        let tokens = limit.max_tokens.map(|max| kept(max, others.tokens.saturating_add(before.tokens)));
        Used {
            cost: NanoUsd(i64::try_from(cost.unwrap_or(0)).unwrap_or(i64::MAX)),
            tokens: tokens.unwrap_or(0),
        }
    }
}

impl Foreign {
    fn used(&self) -> Used {
        self.others.plus(self.forgotten)
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

    fn day(others: i64, own: i64) -> Heard {
        let cell = Cell { window: WindowKind::Daily, start: NOON.day_start() };
        Heard { cell, others: used(others), own: used(own) }
    }

    fn limit() -> Limit {
        Limit { max_cost: Some(NanoUsd(1_000)), window: WindowKind::Daily, ..Limit::default() }
    }

    #[test]
    fn what_was_heard_never_shrinks_and_leaves_with_its_window() {
        let mut windows = Windows::new(NOON);
        let mut others = Others::default();
        for (told, known) in [(50, 50), (0, 50), (70, 70), (60, 70)] {
            others.hear(&[day(told, 0)], Timestamp(0));
            others.weigh(&windows, &limit());
            assert_eq!(others.weight().others, used(known));
        }
        windows.advance(NOON.next_day_start());
        others.weigh(&windows, &limit());
        assert_eq!((others.weight().others, others.cells.len()), (used(0), 0));
        assert!(!others.are_known(&windows, WindowKind::Daily));
    }

    #[test]
    fn a_rolling_window_is_read_whole_once_and_then_from_where_it_was_left() {
        let mut windows = Windows::new(NOON);
        let mut others = Others::default();
        let hear = |others: &mut Others, counts: &[Count], each: i64| {
            let heard: Vec<_> = counts
                .iter()
                .map(|count| Heard { cell: count.cell, others: used(each), own: used(0) })
                .collect();
            others.hear(&heard, Timestamp(0));
        };
        let counts = |others: &Others, windows: &Windows| {
            others.counts(windows, WindowKind::Rolling24h, Scope::Recent, Timestamp(0))
        };
        let first = counts(&others, &windows);
        assert_eq!(first.len(), 289);
        hear(&mut others, &first, 1);
        assert_eq!(others.sum(&windows, WindowKind::Rolling24h), used(289));
        assert_eq!(counts(&others, &windows).len(), 2);
        windows.advance(NOON.plus_ms(BUCKET_MS));
        assert_eq!(others.sum(&windows, WindowKind::Rolling24h), used(288), "one has left");
        assert!(others.are_known(&windows, WindowKind::Rolling24h));
        windows.advance(NOON.plus_ms(10 * BUCKET_MS));
        assert!(!others.are_known(&windows, WindowKind::Rolling24h), "nothing was heard for nearly an hour");
        assert_eq!(counts(&others, &windows).len(), 12);
    }

    #[test]
    fn a_holder_that_was_forgotten_goes_on_from_what_it_had_left() {
        let mut windows = Windows::new(NOON);
        add(&mut windows, NOON, 10);
        let mut others = Others::default();
        let counts =
            |others: &Others| others.counts(&windows, WindowKind::Daily, Scope::Recent, NOON)[0].used;
        assert_eq!(counts(&others), used(0), "first it only asks");
        others.hear(&[day(5, 100)], NOON);
        assert_eq!(others.sum(&windows, WindowKind::Daily), used(105));
        assert_eq!(counts(&others), used(110));
        others.hear(&[day(5, 110)], NOON);
        assert_eq!(others.sum(&windows, WindowKind::Daily), used(105), "it is asked once");
    }

    #[test]
    fn instances_apart_share_what_was_left_and_a_new_window_from_its_start() {
        let mut windows = Windows::new(NOON);
        add(&mut windows, NOON, 100);
        let mut others = Others::default();
        others.hear(&[day(300, 100)], Timestamp(0));
        others.part(&windows, WindowKind::Daily, Some(3));
        // 600 are left, 200 of them for us, however much of them we use.
        assert_eq!(others.reserve(&windows, &limit()), used(400));
        add(&mut windows, NOON, 150);
        assert_eq!(others.reserve(&windows, &limit()), used(400));
        windows.advance(NOON.next_day_start());
        add(&mut windows, NOON.next_day_start(), 50);
        assert_eq!(others.reserve(&windows, &limit()), used(667));
        others.part(&windows, WindowKind::Daily, None);
        assert_eq!(others.reserve(&windows, &limit()), used(0));
    }
}
