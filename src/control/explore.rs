//! Questions that take several sums to answer: usage in all, by group, and each group over time.
//!
//! Start at `explore`. Everything is read in one go by one reader; what the store takes in meanwhile may be in the
//! later of the sums alone, for as long as it takes to ask again.

use crate::store::{Dimension, Order, Reader, StoreError, UsageKey, UsageQuery, UsageRow};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokenist_core::batch::Grain;
use tokenist_core::id::UserId;
use tokenist_core::time::{HOUR_MS, Timestamp};
use tokenist_core::totals::Totals;

/// Groups that a series tells apart: as many as a chart can show.
const GROUPS_MAX: usize = 8;

/// What to explore.
#[derive(Clone, Debug)]
pub struct Exploration {
    /// Which usage, in which rows and order. Its limit is that of the rows.
    pub query: UsageQuery,
    /// Leaves out so many of the first rows.
    pub offset: usize,
    /// The rows by time, too.
    pub series: Option<SeriesQuery>,
}

#[derive(Clone, Copy, Debug)]
pub struct SeriesQuery {
    pub step: Step,
    /// Without it all is one group.
    pub by: Option<Dimension>,
    /// Where nothing was used there are points up to this time.
    pub until: Timestamp,
}

/// How long a point is, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Hour,
    Day,
    Month,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explored {
    pub whole: Totals,
    pub rows: Vec<UsageRow>,
    /// Without offset and limit.
    pub row_count: usize,
    pub series: Option<Series>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Series {
    /// The dearest first, and all others as the last.
    pub groups: Vec<Group>,
    /// The oldest first, none left out between the first and the last. Empty where there is no group.
    pub points: Vec<Point>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// `None` is usage that has no such name, or all of it, or all others.
    pub key: Option<Arc<str>>,
    /// All that is in none of the groups before.
    pub is_other: bool,
    pub totals: Totals,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    pub at: Timestamp,
    /// One for each group.
    pub parts: Vec<Totals>,
}

/// Asks all that it takes.
pub(crate) fn explore(reader: &mut dyn Reader, asked: &Exploration) -> Result<Explored, StoreError> {
    let query = &asked.query;
    let whole = UsageQuery { by: Vec::new(), order: Order::Key, limit: 1, ..query.clone() };
    let whole_rows = reader.usage(&whole)?;
    let whole = whole_rows.first().map(|row| row.totals).unwrap_or_default();
    // As many as a series takes, so that it need not ask again.
    let wanted = asked.offset.saturating_add(query.limit).max(GROUPS_MAX + 1);
    let (mut rows, row_count) = match query.by.is_empty() {
        true => (whole_rows.clone(), whole_rows.len()),
        false => reader.usage_page(&UsageQuery { limit: wanted, ..query.clone() })?,
    };
    let series = asked.series.map(|series| {
        let has_dearest = query.order == Order::Cost && series.by.is_some_and(|by| query.by == [by]);
        let dearest = has_dearest.then(|| rows.iter().take(GROUPS_MAX + 1).cloned().collect());
        read_series(reader, query, series, whole, dearest)
    });
    let series = series.transpose()?;
    rows.drain(..asked.offset.min(rows.len()));
    rows.truncate(query.limit);
    Ok(Explored { whole, rows, row_count, series })
}

/// `dearest` are the groups to tell apart and one more, where they are known.
fn read_series(
    reader: &mut dyn Reader,
    query: &UsageQuery,
    asked: SeriesQuery,
    whole: Totals,
    dearest: Option<Vec<UsageRow>>,
) -> Result<Series, StoreError> {
    let time = asked.step.dimension();
    let over_time = |by: &[Dimension]| UsageQuery {
        by: [&[time], by].concat(),
        order: Order::Key,
        limit: usize::MAX,
        ..query.clone()
    };
    let Some(by) = asked.by else {
        let parts = reader.usage(&over_time(&[]))?.into_iter().map(|row| (at(&row), vec![row.totals]));
        let groups = vec![Group { key: None, is_other: false, totals: whole }];
        return Ok(Series { groups, points: filled(parts.collect(), query.from, asked, 1) });
    };
    let mut dearest = match dearest {
        Some(rows) => rows,
        None => {
            let (order, limit) = (Order::Cost, GROUPS_MAX + 1);
            reader.usage(&UsageQuery { by: vec![by], order, limit, ..query.clone() })?
        }
    };
    let has_other = dearest.len() > GROUPS_MAX;
    dearest.truncate(GROUPS_MAX);
    let keys: Vec<Option<Arc<str>>> = dearest.iter().map(|row| name(&row.key, by)).collect();
    let group_count = keys.len() + usize::from(has_other);
    let mut parts: BTreeMap<Timestamp, Vec<Totals>> = BTreeMap::new();
    let index: HashMap<&Option<Arc<str>>, usize> = keys.iter().enumerate().map(|(n, key)| (key, n)).collect();
    let keyed = over_time(&[by]);
    for row in reader.usage(&if has_other { only(keyed, by, &keys) } else { keyed })? {
        // A group that has come since is in none of them.
        if let Some(&index) = index.get(&name(&row.key, by)) {
            parts.entry(at(&row)).or_insert_with(|| vec![Totals::default(); group_count])[index] = row.totals;
        }
    }
    let mut groups: Vec<Group> = dearest
        .iter()
        .zip(&keys)
        .map(|(row, key)| Group { key: key.clone(), is_other: false, totals: row.totals })
        .collect();
    if has_other {
        let rest =
            |whole: Totals, parts: &[Totals]| parts.iter().fold(whole, |rest, part| rest.without(part));
        for row in reader.usage(&over_time(&[]))? {
            let parts = parts.entry(at(&row)).or_insert_with(|| vec![Totals::default(); group_count]);
            parts[group_count - 1] = rest(row.totals, &parts[..group_count - 1]);
        }
        let known: Vec<Totals> = groups.iter().map(|group| group.totals).collect();
        groups.push(Group { key: None, is_other: true, totals: rest(whole, &known) });
    }
    Ok(Series { groups, points: filled(parts, query.from, asked, group_count) })
}

/// Only usage of these.
fn only(query: UsageQuery, by: Dimension, keys: &[Option<Arc<str>>]) -> UsageQuery {
    let texts = keys.iter().map(|key| key.clone().unwrap_or_default());
    match by {
        // They are among those that may have been asked for.
        Dimension::User => UsageQuery { users: texts.map(|text| UserId::from(&*text)).collect(), ..query },
        by => UsageQuery { among: Some((by, texts.collect())), ..query },
    }
}

/// With a point of nothing wherever there is none.
fn filled(
    mut parts: BTreeMap<Timestamp, Vec<Totals>>,
    from: Timestamp,
    asked: SeriesQuery,
    group_count: usize,
) -> Vec<Point> {
    let Some((&first, _)) = parts.first_key_value() else { return Vec::new() };
    let nothing = || vec![Totals::default(); group_count];
    // All time begins with what was used first.
    let mut at = if from == Timestamp(0) { first } else { asked.step.start(from) };
    while at < asked.until {
        parts.entry(at).or_insert_with(nothing);
        at = asked.step.next(at);
    }
    parts.into_iter().map(|(at, parts)| Point { at, parts }).collect()
}

fn at(row: &UsageRow) -> Timestamp {
    row.key.at.unwrap_or_default()
}

/// What a sum is of, in one dimension.
fn name(key: &UsageKey, by: Dimension) -> Option<Arc<str>> {
    match by {
        Dimension::User => key.user.as_ref().map(|user| user.as_str().into()),
        Dimension::Org => key.org.as_ref().map(|org| org.as_str().into()),
        Dimension::Feature => key.feature.as_ref().map(|feature| feature.as_str().into()),
        Dimension::Provider => key.provider.clone(),
        Dimension::Model => key.model.as_ref().map(|model| model.as_str().into()),
        Dimension::Hour | Dimension::Day | Dimension::Month => None,
    }
}

impl Step {
    pub fn dimension(self) -> Dimension {
        match self {
            Step::Hour => Dimension::Hour,
            Step::Day => Dimension::Day,
            Step::Month => Dimension::Month,
        }
    }

    fn start(self, at: Timestamp) -> Timestamp {
        match self {
            Step::Hour => Grain::Hour.start(at),
            Step::Day => at.day_start(),
            Step::Month => at.month_start(),
        }
    }

    fn next(self, at: Timestamp) -> Timestamp {
        match self {
            Step::Hour => at.plus_ms(HOUR_MS),
            Step::Day => at.next_day_start(),
            Step::Month => at.next_month_start(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Memory, Store, memory};
    use tokenist_core::batch::{Batch, Rollup, Serial};
    use tokenist_core::money::NanoUsd;

    const NOON: Timestamp = Timestamp(1_795_435_200_000);

    /// Users `a`, `b`, … of whom each costs twice what the one before does, every two hours from noon on; the first
    /// has no feature.
    fn store(user_count: usize) -> Box<dyn Reader> {
        let row = |n: usize| Rollup {
            row: Serial(n as u64),
            user: char::from(b'a' + n as u8).to_string().as_str().into(),
            org: None,
            key: None,
            feature: (n > 0).then(|| "voice".into()),
            provider: "openai".into(),
            model: "m".into(),
            start: Grain::Hour.start(NOON).plus_ms(2 * HOUR_MS * n as u64),
            grain: Grain::Hour,
            totals: Totals { cost: NanoUsd(1 << n), ..Totals::default() },
        };
        let mut store = Memory::new(memory::Config::default());
        store.commit(&Batch { rollups: (0..user_count).map(row).collect(), ..Batch::default() }).unwrap();
        store.reader().unwrap()
    }

    fn series(user_count: usize, by: Option<Dimension>, step: Step) -> Series {
        let from = NOON.minus_ms(HOUR_MS);
        let asked = Exploration {
            query: UsageQuery { from, limit: 0, ..UsageQuery::default() },
            offset: 0,
            series: Some(SeriesQuery { step, by, until: NOON.plus_ms(1) }),
        };
        explore(&mut *store(user_count), &asked).unwrap().series.unwrap()
    }

    fn costs(series: &Series) -> (Vec<i64>, Vec<Vec<i64>>) {
        let parts = |parts: &[Totals]| parts.iter().map(|part| part.cost.0).collect::<Vec<_>>();
        let groups = series.groups.iter().map(|group| group.totals.cost.0).collect();
        (groups, series.points.iter().map(|point| parts(&point.parts)).collect())
    }

    #[test]
    fn groups_are_told_apart_up_to_a_number_and_the_rest_is_one() {
        let few = series(8, Some(Dimension::User), Step::Month);
        assert_eq!(costs(&few).0, [128, 64, 32, 16, 8, 4, 2, 1]);
        assert!(few.groups.iter().all(|group| !group.is_other && group.key.is_some()));
        let many = series(10, Some(Dimension::User), Step::Month);
        let expected = vec![512, 256, 128, 64, 32, 16, 8, 4, 3];
        assert_eq!(costs(&many), (expected.clone(), vec![expected]));
        let last = many.groups.last().unwrap();
        assert_eq!((last.is_other, last.key.as_deref()), (true, None));
    }

    #[test]
    fn points_have_no_gaps_and_names_may_be_missing() {
        let by_feature = series(3, Some(Dimension::Feature), Step::Hour);
        let keys: Vec<Option<&str>> = by_feature.groups.iter().map(|group| group.key.as_deref()).collect();
        assert_eq!(keys, [Some("voice"), None]);
        // From eleven to noon as asked; later ones because something was used.
        assert_eq!(costs(&by_feature).1, [[0, 0], [0, 1], [2, 0], [4, 0]]);
        assert_eq!(costs(&series(3, None, Step::Day)), (vec![7], vec![vec![7]]));
        assert_eq!(series(0, Some(Dimension::Model), Step::Day), Series::default());
    }

    #[test]
    fn rows_are_paged_and_counted() {
        let page = |offset: usize, limit: usize| {
            let query = UsageQuery { by: vec![Dimension::User], limit, ..UsageQuery::default() };
            let explored = explore(&mut *store(5), &Exploration { query, offset, series: None }).unwrap();
            let costs: Vec<i64> = explored.rows.iter().map(|row| row.totals.cost.0).collect();
            (costs, explored.row_count, explored.whole.cost.0)
        };
        assert_eq!(page(0, 2), (vec![16, 8], 5, 31));
        assert_eq!(page(3, 2), (vec![2, 1], 5, 31));
        assert_eq!(page(9, 2), (vec![], 5, 31));
    }
}
