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
use std::sync::Arc;

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

/// The name that an instance's sums grow under.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Writer(pub Arc<str>);

/// What an instance has counted for a holder, to be exchanged for what the others have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    pub holder: Holder,
    /// Another instance, of which this is told again; `None`: this one.
    pub of: Option<Writer>,
    /// Cells that are zero are only asked for.
    pub counts: Vec<Count>,
}

/// The answer for one cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    pub cell: Cell,
    /// What each other instance has counted, those that have counted something.
    pub others: Vec<(Writer, Used)>,
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
    /// What this instance had counted when the others were last asked, and when they were last heard: so much of it
    /// they know.
    asked: Option<Mark>,
    agreed: Option<Mark>,
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

#[derive(Clone, Debug)]
struct Foreign {
    cell: Cell,
    others: Vec<(Writer, Used)>,
    /// What this instance itself had counted and does not know of: it forgot the holder for a while, or died before its
    /// ledger had it, or goes on with an older one.
    forgotten: Used,
    /// Both, when the others were last in touch.
    agreed: Used,
}

/// The other instances cannot be heard, or may not have found back yet.
#[derive(Clone, Copy, Debug)]
struct Apart {
    instance_count: u32,
    mark: Mark,
}

/// What this instance had counted at some time.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// The current cell then, and what was in it.
    since: Cell,
    own: Used,
}

impl Mark {
    fn of(windows: &Windows, window: WindowKind) -> Mark {
        let since = Cell { window, start: windows.newest(window) };
        Mark { since, own: windows.used_in(since) }
    }
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
        let others = self.sum(windows, limit.window, Foreign::used);
        self.weight = Weight {
            others,
            reserve: if keeps { self.reserve(windows, limit, others) } else { Used::default() },
        };
        self.weighed_from = Some(from);
    }

    /// What counts in the window besides our own.
    fn sum(&self, windows: &Windows, window: WindowKind, of: impl Fn(&Foreign) -> Used) -> Used {
        self.current(windows, window).fold(Used::default(), |sum, foreign| sum.plus(of(foreign)))
    }

    /// What leaves the window and when, the oldest first.
    pub(crate) fn leaving(
        &self,
        windows: &Windows,
        window: WindowKind,
    ) -> impl Iterator<Item = (Timestamp, Used)> {
        self.current(windows, window).filter_map(|foreign| Some((foreign.cell.end()?, foreign.used())))
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

    /// What was heard of each other instance, to be told again where it may have been lost together with the instance.
    pub(crate) fn of_others(&self, windows: &Windows, window: WindowKind) -> Vec<(Writer, Vec<Count>)> {
        let mut told: Vec<(Writer, Vec<Count>)> = Vec::new();
        for foreign in self.current(windows, window) {
            for (writer, used) in &foreign.others {
                let count = Count { cell: foreign.cell, used: *used };
                match told.iter_mut().find(|(known, _)| known == writer) {
                    Some((_, counts)) => counts.push(count),
                    None => told.push((writer.clone(), vec![count])),
                }
            }
        }
        told
    }

    /// Whether our count of the cell is all that this instance ever counted in it.
    fn is_whole(&self, cell: Cell, whole_from: Timestamp) -> bool {
        self.is_heard(cell) || cell.start >= whole_from
    }

    fn is_heard(&self, cell: Cell) -> bool {
        self.heard_upto[cell.window as usize].is_some_and(|upto| cell.start <= upto)
    }

    fn forgotten(&self, cell: Cell) -> Used {
        let found = self.cells.binary_search_by_key(&cell, |foreign| foreign.cell);
        found.map_or(Used::default(), |index| self.cells[index].forgotten)
    }

    pub(crate) fn hear(&mut self, windows: &Windows, heard: &[Heard], whole_from: Timestamp) {
        self.weighed_from = None;
        self.agreed = self.asked.take().or(self.agreed);
        for &Heard { cell, ref others, own } in heard {
            let forgotten = match self.is_heard(cell) {
                true => Used::default(),
                false if cell.start >= whole_from => own.less(windows.used_in(cell)),
                false => own,
            };
            if others.is_empty() && forgotten == Used::default() {
                continue;
            }
            let found = self.cells.binary_search_by_key(&cell, |foreign| foreign.cell);
            let index = found.unwrap_or_else(|index| {
                let (agreed, forgotten) = (Used::default(), Used::default());
                self.cells.insert(index, Foreign { cell, others: Vec::new(), forgotten, agreed });
                index
            });
            let known = &mut self.cells[index];
            known.forgotten = known.forgotten.join(forgotten);
            others.iter().for_each(|(writer, used)| known.join(writer, *used));
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

    /// From now on so many instances, this one included, share what was left when they last heard each other; `None`:
    /// they do again.
    ///
    /// What each has counted since then comes out of its part. So all of them share the same rest, however long they
    /// take to notice, but for what others have left in the beat after this one heard of them.
    pub(crate) fn part(&mut self, windows: &Windows, window: WindowKind, instance_count: Option<u32>) {
        self.weighed_from = None;
        let known = self.agreed.or(self.asked).filter(|mark| mark.since.window == window);
        let mark = known.unwrap_or_else(|| Mark::of(windows, window));
        self.apart =
            instance_count.map(|instance_count| Apart { instance_count: instance_count.max(1), mark });
        for foreign in &mut self.cells {
            foreign.agreed = foreign.used();
        }
    }

    /// Another limit holds. Where it sums over another window, what is left there is shared anew.
    pub(crate) fn set_limit(&mut self, windows: &Windows, window: WindowKind) {
        self.weighed_from = None;
        if let Some(apart) = self.apart.filter(|apart| apart.mark.since.window != window) {
            self.part(windows, window, Some(apart.instance_count));
        }
    }

    /// What of the limit is kept for the instances that cannot be heard, beyond what is known of them. The parts stay as
    /// they were when all parted: what is heard of the others' later usage was their part, and takes nothing of ours.
    fn reserve(&self, windows: &Windows, limit: &Limit, others: Used) -> Used {
        let Some(Apart { instance_count, mark }) = self.apart else { return Used::default() };
        let agreed = self.sum(windows, limit.window, |foreign| foreign.agreed);
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
        kept.plus(agreed).less(others)
    }
}

impl Foreign {
    fn used(&self) -> Used {
        self.others.iter().fold(self.forgotten, |sum, (_, used)| sum.plus(*used))
    }

    /// What one of the others counts only grows.
    fn join(&mut self, writer: &Writer, used: Used) {
        match self.others.iter_mut().find(|(known, _)| known == writer) {
            Some((_, known)) => *known = known.join(used),
            None => {
                self.others.reserve_exact(1); // Fleets are small, and holders many.
                self.others.push((writer.clone(), used));
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

    fn day(others: i64, own: i64) -> Heard {
        let cell = Cell { window: WindowKind::Daily, start: NOON.day_start() };
        Heard { cell, others: vec![(Writer("b".into()), used(others))], own: used(own) }
    }

    fn sum(others: &Others, windows: &Windows, window: WindowKind) -> Used {
        others.sum(windows, window, Foreign::used)
    }

    fn reserve(others: &Others, windows: &Windows) -> Used {
        others.reserve(windows, &limit(), others.sum(windows, WindowKind::Daily, Foreign::used))
    }

    fn limit() -> Limit {
        Limit { max_cost: Some(NanoUsd(1_000)), window: WindowKind::Daily, ..Limit::default() }
    }

    #[test]
    fn what_was_heard_never_shrinks_and_leaves_with_its_window() {
        let mut windows = Windows::new(NOON);
        let mut others = Others::default();
        for (told, known) in [(50, 50), (0, 50), (70, 70), (60, 70)] {
            others.hear(&windows, &[day(told, 0)], Timestamp(0));
            others.weigh(&windows, &limit());
            assert_eq!(others.weight().others, used(known));
        }
        windows.advance(NOON.next_day_start());
        others.weigh(&windows, &limit());
        assert_eq!((others.weight().others, others.cells.len()), (used(0), 0));
        assert!(!others.are_known(&windows, WindowKind::Daily));
    }

    #[test]
    fn what_was_heard_is_kept_for_each_instance_and_can_be_told_again() {
        let windows = Windows::new(NOON);
        let mut others = Others::default();
        let cell = Cell { window: WindowKind::Daily, start: NOON.day_start() };
        let [b, c] = ["b", "c"].map(|name| Writer(name.into()));
        // The second answer comes from a place that has lost what `b` had left there.
        for heard in [vec![(b.clone(), used(40)), (c.clone(), used(5))], vec![(c.clone(), used(30))]] {
            others.hear(&windows, &[Heard { cell, others: heard, own: used(0) }], Timestamp(0));
        }
        assert_eq!(sum(&others, &windows, WindowKind::Daily), used(70));
        let count = |nano| vec![Count { cell, used: used(nano) }];
        assert_eq!(others.of_others(&windows, WindowKind::Daily), [(b, count(40)), (c, count(30))]);
    }

    #[test]
    fn a_rolling_window_is_read_whole_once_and_then_from_where_it_was_left() {
        let mut windows = Windows::new(NOON);
        let mut others = Others::default();
        let hear = |others: &mut Others, windows: &Windows, counts: &[Count], each: i64| {
            let heard: Vec<_> = counts
                .iter()
                .map(|count| {
                    let others = vec![(Writer("b".into()), used(each))];
                    Heard { cell: count.cell, others, own: used(0) }
                })
                .collect();
            others.hear(windows, &heard, Timestamp(0));
        };
        let counts = |others: &mut Others, windows: &Windows| {
            others.counts(windows, WindowKind::Rolling24h, Scope::Recent, Timestamp(0))
        };
        let first = counts(&mut others, &windows);
        assert_eq!(first.len(), 289);
        hear(&mut others, &windows, &first, 1);
        assert_eq!(sum(&others, &windows, WindowKind::Rolling24h), used(289));
        assert_eq!(counts(&mut others, &windows).len(), 2);
        windows.advance(NOON.plus_ms(BUCKET_MS));
        assert_eq!(sum(&others, &windows, WindowKind::Rolling24h), used(288), "one has left");
        assert!(others.are_known(&windows, WindowKind::Rolling24h));
        windows.advance(NOON.plus_ms(10 * BUCKET_MS));
        assert!(!others.are_known(&windows, WindowKind::Rolling24h), "nothing was heard for nearly an hour");
        assert_eq!(counts(&mut others, &windows).len(), 12);
    }

    #[test]
    fn a_holder_that_was_forgotten_goes_on_from_what_it_had_left() {
        let mut windows = Windows::new(NOON);
        add(&mut windows, NOON, 10);
        let mut others = Others::default();
        let counts =
            |others: &mut Others| others.counts(&windows, WindowKind::Daily, Scope::Recent, NOON)[0].used;
        assert_eq!(counts(&mut others), used(0), "first it only asks");
        others.hear(&windows, &[day(5, 100)], NOON);
        assert_eq!(sum(&others, &windows, WindowKind::Daily), used(105));
        assert_eq!(counts(&mut others), used(110));
        others.hear(&windows, &[day(5, 110)], NOON);
        assert_eq!(sum(&others, &windows, WindowKind::Daily), used(105), "it is asked once");
    }

    #[test]
    fn a_ledger_that_is_older_than_what_it_had_told_goes_on_from_there() {
        let mut windows = Windows::new(NOON);
        let mut others = Others::default();
        add(&mut windows, NOON, 60);
        // It had told of 100, and 60 are in its ledger.
        others.hear(&windows, &[day(5, 100)], Timestamp(0));
        assert_eq!(sum(&others, &windows, WindowKind::Daily), used(45));
        add(&mut windows, NOON, 10);
        let told = others.counts(&windows, WindowKind::Daily, Scope::Recent, Timestamp(0))[0].used;
        assert_eq!(told, used(110));
        others.hear(&windows, &[day(5, 110)], Timestamp(0));
        assert_eq!(sum(&others, &windows, WindowKind::Daily), used(45), "it is asked once");
    }

    #[test]
    fn instances_apart_share_what_was_left_and_a_new_window_from_its_start() {
        let mut windows = Windows::new(NOON);
        add(&mut windows, NOON, 100);
        let mut others = Others::default();
        others.hear(&windows, &[day(300, 100)], Timestamp(0));
        others.part(&windows, WindowKind::Daily, Some(3));
        // 600 are left, 200 of them for us, however much of them we use.
        assert_eq!(reserve(&others, &windows), used(400));
        add(&mut windows, NOON, 150);
        assert_eq!(reserve(&others, &windows), used(400));
        windows.advance(NOON.next_day_start());
        add(&mut windows, NOON.next_day_start(), 50);
        assert_eq!(reserve(&others, &windows), used(667));
        others.part(&windows, WindowKind::Daily, None);
        assert_eq!(reserve(&others, &windows), used(0));
    }

    #[test]
    fn what_the_others_used_of_their_part_takes_nothing_of_ours() {
        let mut windows = Windows::new(NOON);
        let mut others = Others::default();
        add(&mut windows, NOON, 100);
        others.counts(&windows, WindowKind::Daily, Scope::Recent, Timestamp(0));
        others.hear(&windows, &[day(100, 0)], Timestamp(0));
        // What was used since then is known to nobody else: it comes out of our part.
        add(&mut windows, NOON, 50);
        others.part(&windows, WindowKind::Daily, Some(2));
        // 800 were left, so 100 + 400 are theirs and as much is ours.
        for (heard, reserved) in [(100, 400), (400, 100), (500, 0), (620, 0)] {
            others.hear(&windows, &[day(heard, 100)], Timestamp(0));
            assert_eq!(reserve(&others, &windows), used(reserved), "{heard}");
        }
        others.weigh(&windows, &limit());
        assert_eq!(others.weight(), Weight { others: used(620), reserve: used(0) });
    }
}
