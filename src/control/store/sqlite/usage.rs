//! Questions about usage, each from the smallest table that can answer it.
//!
//! Users are many and their rows wide, so where their costs have to be summed up the dearest are found in two steps:
//! first they are ranked over an index that has nothing but what that takes, then the rows of those within the limit
//! are read.

use super::StoreError;
use super::counts::{names, org_text, read, read_model, read_org, read_time, summed_names, time};
use super::question::{FileReader, Question, count, text};
use crate::store::{Dimension, Order, UsageKey, UsageQuery, UsageRow};
use rusqlite::Row;
use rusqlite::types::Value;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use tokenist_core::batch::Grain;
use tokenist_core::id::{Feature, UserId};
use tokenist_core::time::{DAY_MS, Timestamp};

/// Of a span up to this long all rows are looked at; of a longer one each user's are looked for.
const SHORT_MS: u64 = 2 * DAY_MS;
/// A list up to this long is ranked before its rows are read.
const RANKED_MAX: usize = 10_000;

/// The rows of a list, if it was worth while to rank it first: whose they are, and how long it is without its limit.
struct Ranking {
    users: Vec<UserId>,
    count: usize,
}

pub(super) fn rows(reader: &FileReader, query: &UsageQuery) -> Result<Vec<UsageRow>, StoreError> {
    match ranking(reader, query)? {
        Some(ranking) => ranked_rows(reader, query, ranking.users),
        None => read_rows(reader, query),
    }
}

/// As [`rows`], one after the other.
pub(super) fn each_row(
    reader: &FileReader,
    query: &UsageQuery,
    take: &mut dyn FnMut(UsageRow) -> bool,
) -> Result<(), StoreError> {
    reader.each_while(&question(query), |row| Ok(take(usage_row(row, &query.by)?)))
}

/// The rows, and how many there are without the limit.
pub(super) fn page(reader: &FileReader, query: &UsageQuery) -> Result<(Vec<UsageRow>, usize), StoreError> {
    if let Some(Ranking { users, count }) = ranking(reader, query)? {
        return Ok((ranked_rows(reader, query, users)?, count));
    }
    let rows = read_rows(reader, query)?;
    // Only a full list may have been cut.
    let count = if rows.len() < query.limit { rows.len() } else { row_count(reader, query)? };
    Ok((rows, count))
}

pub(super) fn row_count(reader: &FileReader, query: &UsageQuery) -> Result<usize, StoreError> {
    let table = Table::for_query(query);
    if table.has_a_row_each(query) {
        return reader.count(&of_one_span(query, table, "count(*)"));
    }
    if let Some(question) = users_sought(query, table) {
        return reader.count(&question);
    }
    let uncut = UsageQuery { order: Order::Cost, limit: 0, ..query.clone() };
    match ranking(reader, &uncut)? {
        Some(ranking) => Ok(ranking.count),
        None => reader.count(&group_count_question(query)),
    }
}

fn ranked_rows(
    reader: &FileReader,
    query: &UsageQuery,
    users: Vec<UserId>,
) -> Result<Vec<UsageRow>, StoreError> {
    if users.is_empty() {
        return Ok(Vec::new()); // A question about no users would be one about all.
    }
    read_rows(reader, &UsageQuery { users, ..query.clone() })
}

fn read_rows(reader: &FileReader, query: &UsageQuery) -> Result<Vec<UsageRow>, StoreError> {
    reader.ask(&question(query), |row| usage_row(row, &query.by))
}

fn question(query: &UsageQuery) -> Question {
    let table = Table::for_query(query);
    if query.order == Order::Cost && table.has_a_row_each(query) {
        return top_question(query, table);
    }
    let columns: Vec<&str> = query.by.iter().map(|dimension| table.column(*dimension)).collect();
    let sums = summed_names();
    let select = [&columns[..], &[&*sums]].concat();
    let mut question = grouped(query, &table.by_users(query), &select, &columns);
    let mut order: Vec<(Dimension, &str)> = query.by.iter().copied().zip(columns.iter().copied()).collect();
    order.sort_by_key(|(dimension, _)| key_rank(*dimension));
    let mut order: Vec<&str> = order.into_iter().map(|(_, column)| column).collect();
    if query.order == Order::Cost {
        order.insert(0, "sum(cost_nano) DESC");
    }
    if !order.is_empty() {
        question.sql.push_str(&format!(" ORDER BY {}", order.join(", ")));
    }
    question.sql.push_str(" LIMIT ?");
    question.values.push(count(query.limit));
    question
}

/// The first step of two; `None` if one is enough. Costs are added up here: SQLite would sort the rows for it, by texts.
fn ranking(reader: &FileReader, query: &UsageQuery) -> Result<Option<Ranking>, StoreError> {
    let Some(question) = costs_question(query) else { return Ok(None) };
    let mut costs: HashMap<Box<str>, i64> = HashMap::new();
    let mut key = String::new();
    reader.each(&question, |row| {
        key.clear();
        for index in 0..query.by.len() {
            key.push_str(row.get_ref(index)?.as_str()?);
            key.push(BETWEEN);
        }
        let cost: i64 = row.get(query.by.len())?;
        match costs.get_mut(&*key) {
            Some(sum) => *sum = sum.saturating_add(cost),
            None => drop(costs.insert(key.as_str().into(), cost)),
        }
        Ok(())
    })?;
    let count = costs.len();
    let mut costs: Vec<(Reverse<i64>, Box<str>)> =
        costs.into_iter().map(|(key, cost)| (Reverse(cost), key)).collect();
    if query.limit < costs.len() {
        costs.select_nth_unstable(query.limit);
        costs.truncate(query.limit);
    }
    // The dearest rows are among all rows of their users.
    let mut users: Vec<&str> =
        costs.iter().map(|(_, key)| key.split(BETWEEN).next().unwrap_or(key)).collect();
    users.sort_unstable();
    users.dedup();
    Ok(Some(Ranking { users: users.into_iter().map(UserId::from).collect(), count }))
}

/// No name has it in it.
const BETWEEN: char = '\0';

/// What was asked for row by row, users first: names and costs.
fn costs_question(query: &UsageQuery) -> Option<Question> {
    let table = Table::for_query(query);
    let is_ranking = query.by.contains(&Dimension::User) && query.order == Order::Cost;
    if !is_ranking || !query.users.is_empty() || query.limit > RANKED_MAX || table.has_a_row_each(query) {
        return None;
    }
    let is_of_time = |by: &Dimension| matches!(by, Dimension::Hour | Dimension::Day | Dimension::Month);
    if query.by.iter().any(is_of_time) {
        return None;
    }
    let others = query.by.iter().filter(|by| **by != Dimension::User).map(|by| table.column(*by));
    let columns: Vec<&str> = std::iter::once("user").chain(others).chain(["cost_nano"]).collect();
    Some(wanted(query, &table.by_costs(query)?, &columns))
}

fn group_count_question(query: &UsageQuery) -> Question {
    let table = Table::for_query(query);
    let columns: Vec<&str> = query.by.iter().map(|dimension| table.column(*dimension)).collect();
    let mut question = grouped(query, table.name(), &["count(*)"], &columns);
    question.sql = format!("SELECT count(*) FROM ({})", question.sql);
    question
}

/// How many users have used something in a long span: for each that there is, whether it has a row there.
fn users_sought(query: &UsageQuery, table: Table) -> Option<Question> {
    let index = match table {
        Table::Rollups => "rollups_by_user",
        Table::MemberDay => "member_day_by_user",
        Table::SliceHour | Table::SliceDay | Table::OrgDay => return None,
        Table::MemberMonth | Table::UserMonth | Table::UserTotal => return None,
    };
    let everybody =
        UsageQuery { from: query.from, to: query.to, by: vec![Dimension::User], ..UsageQuery::default() };
    let is_asked =
        UsageQuery { order: everybody.order, limit: everybody.limit, ..query.clone() } == everybody;
    if !is_asked || query.to.since(query.from) <= SHORT_MS {
        return None;
    }
    let name = table.name();
    let sql = format!(
        "SELECT count(*) FROM user_total WHERE EXISTS (SELECT 1 FROM {name} INDEXED BY {index} \
         WHERE {name}.user = user_total.user AND start >= ? AND start < ?)"
    );
    Some(Question { sql, values: vec![Value::Integer(time(query.from)), Value::Integer(time(query.to))] })
}

/// What was asked for, a row for each combination of `columns`.
fn grouped(query: &UsageQuery, from: &str, select: &[&str], columns: &[&str]) -> Question {
    let mut question = wanted(query, from, select);
    if !columns.is_empty() {
        question.sql.push_str(&format!(" GROUP BY {}", columns.join(", ")));
    }
    // Without groups there is one row even of nothing.
    question.sql.push_str(" HAVING count(*) > 0");
    question
}

/// The rows to look at.
fn wanted(query: &UsageQuery, from: &str, select: &[&str]) -> Question {
    // Sums over all time have no start.
    let span = if from == Table::UserTotal.name() { "? < ?" } else { "start >= ? AND start < ?" };
    let sql = format!("SELECT {} FROM {from} WHERE {span}", select.join(", "));
    let values = vec![Value::Integer(time(query.from)), Value::Integer(time(query.to))];
    let mut question = Question { sql, values };
    let list = |texts: &[&str]| Value::Text(serde_json::json!(texts).to_string());
    match query.users.as_slice() {
        [] => {}
        [user] => question.when("user = ?", Some(text(user))),
        users => {
            let users: Vec<&str> = users.iter().map(UserId::as_str).collect();
            question.when("user IN (SELECT value FROM json_each(?))", Some(list(&users)));
        }
    }
    question.when("org = ?", query.org.as_ref().map(|org| text(org_text(Some(org)))));
    question.when("feature = ?", query.feature.as_ref().map(text));
    question.when("provider = ?", query.provider.as_ref().map(text));
    question.when("model = ?", query.model.as_ref().map(text));
    if let Some((dimension, texts)) = &query.among {
        let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
        let column = Table::for_query(query).column(*dimension);
        question.when(&format!("{column} IN (SELECT value FROM json_each(?))"), Some(list(&texts)));
    }
    question
}

/// As [`question`] where nothing has to be summed: an index has the rows in order of cost, so however many there are,
/// only those within the limit are looked at.
fn top_question(query: &UsageQuery, table: Table) -> Question {
    let mut question = of_one_span(query, table, &format!("user, {}", names()));
    question.sql.push_str(" ORDER BY cost_nano DESC, user LIMIT ?");
    question.values.push(count(query.limit));
    question
}

/// The rows of one month or day, perhaps of one org, or those of all time.
fn of_one_span(query: &UsageQuery, table: Table, select: &str) -> Question {
    if table == Table::UserTotal {
        return Question { sql: format!("SELECT {select} FROM user_total"), values: Vec::new() };
    }
    let sql = format!("SELECT {select} FROM {} WHERE start = ?", table.name());
    let mut question = Question { sql, values: vec![Value::Integer(time(query.from))] };
    question.when("org = ?", query.org.as_ref().map(|org| text(org_text(Some(org)))));
    question
}

/// In the order of [`UsageKey`]'s fields.
fn key_rank(dimension: Dimension) -> usize {
    match dimension {
        Dimension::Hour | Dimension::Day | Dimension::Month => 0,
        Dimension::User => 1,
        Dimension::Org => 2,
        Dimension::Feature => 3,
        Dimension::Provider => 4,
        Dimension::Model => 5,
    }
}

/// The tables that count, by the same names wherever they are copied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    Rollups,
    SliceHour,
    SliceDay,
    MemberDay,
    MemberMonth,
    UserMonth,
    UserTotal,
    OrgDay,
}

impl Table {
    /// The smallest one that can answer.
    pub(crate) fn for_query(query: &UsageQuery) -> Table {
        let asks = |dimension| query.by.contains(&dimension);
        let aligned = |start: fn(Timestamp) -> Timestamp| {
            start(query.from) == query.from && (query.to == Timestamp::MAX || start(query.to) == query.to)
        };
        let is_by_hour = asks(Dimension::Hour) || !aligned(Timestamp::day_start);
        if query.is_of_users() {
            let is_of_orgs = query.org.is_some()
                || asks(Dimension::Org)
                || query.among.as_ref().is_some_and(|(among, _)| *among == Dimension::Org);
            let is_whole = query.from == Timestamp(0) && query.to == Timestamp::MAX;
            if query.is_fine() || is_by_hour {
                Table::Rollups
            } else if !aligned(Timestamp::month_start) || asks(Dimension::Day) {
                Table::MemberDay
            } else if is_of_orgs {
                Table::MemberMonth
            } else if is_whole && !asks(Dimension::Month) {
                Table::UserTotal
            } else {
                Table::UserMonth
            }
        } else if !aligned(|at| Grain::Hour.start(at)) {
            Table::Rollups
        } else if is_by_hour {
            Table::SliceHour
        } else if query.is_fine() {
            Table::SliceDay
        } else {
            Table::OrgDay
        }
    }

    /// Users are asked for, and everyone has a single row here for what is asked.
    fn has_a_row_each(self, query: &UsageQuery) -> bool {
        let is_one_span = match self {
            Table::MemberDay => query.org.is_some() && query.from.next_day_start() == query.to,
            Table::MemberMonth => query.org.is_some() && query.from.next_month_start() == query.to,
            Table::UserMonth => query.from.next_month_start() == query.to,
            Table::UserTotal => true,
            Table::Rollups | Table::SliceHour | Table::SliceDay | Table::OrgDay => false,
        };
        is_one_span && query.by == [Dimension::User] && query.users.is_empty() && query.among.is_none()
    }

    /// With the index that has users and their costs by time, so that ranking and counting users reads nothing else.
    /// `None` where there is none, or where few rows have to be looked at.
    fn by_costs(self, query: &UsageQuery) -> Option<String> {
        let index = match self {
            // In a long span, one org's rows are found by its own index.
            Table::Rollups if query.org.is_some() && query.to.since(query.from) > SHORT_MS => return None,
            Table::Rollups => "rollups_by_start",
            Table::MemberDay => "member_day_by_cost",
            Table::MemberMonth => "member_month_by_cost",
            Table::UserMonth => "user_month_by_cost",
            Table::SliceHour | Table::SliceDay | Table::OrgDay | Table::UserTotal => return None,
        };
        Some(format!("{} INDEXED BY {index}", self.name()))
    }

    /// With the index that finds the rows of the users asked for, whatever else is asked: SQLite would rather look at
    /// all rows of an org.
    fn by_users(self, query: &UsageQuery) -> String {
        let index = match self {
            _ if query.users.is_empty() => None,
            Table::Rollups => Some("rollups_by_user"),
            Table::MemberDay => Some("member_day_by_user"),
            Table::MemberMonth => Some("member_month_by_user"),
            Table::SliceHour | Table::SliceDay | Table::OrgDay | Table::UserMonth | Table::UserTotal => None,
        };
        index.map_or_else(|| self.name().to_owned(), |index| format!("{} INDEXED BY {index}", self.name()))
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Table::Rollups => "rollups",
            Table::SliceHour => "slice_hour",
            Table::SliceDay => "slice_day",
            Table::MemberDay => "member_day",
            Table::MemberMonth => "member_month",
            Table::UserMonth => "user_month",
            Table::UserTotal => "user_total",
            Table::OrgDay => "org_day",
        }
    }

    fn column(self, dimension: Dimension) -> &'static str {
        match (dimension, self) {
            (Dimension::User, _) => "user",
            (Dimension::Org, _) => "org",
            (Dimension::Feature, _) => "feature",
            (Dimension::Provider, _) => "provider",
            (Dimension::Model, _) => "model",
            (Dimension::Hour, Table::SliceHour) => "start",
            (Dimension::Hour, _) => "start - start % 3600000",
            (Dimension::Day, Table::Rollups | Table::SliceHour) => "start - start % 86400000",
            (Dimension::Day, _) => "start",
            (Dimension::Month, Table::MemberMonth | Table::UserMonth) => "start",
            (Dimension::Month, _) => "unixepoch(start / 1000, 'unixepoch', 'start of month') * 1000",
        }
    }
}

fn usage_row(row: &Row<'_>, by: &[Dimension]) -> rusqlite::Result<UsageRow> {
    let mut key = UsageKey::default();
    for (index, dimension) in by.iter().enumerate() {
        match dimension {
            Dimension::User => key.user = Some(UserId::from(&*row.get::<_, Arc<str>>(index)?)),
            Dimension::Org => key.org = read_org(row, index)?,
            Dimension::Feature => {
                let text: Arc<str> = row.get(index)?;
                key.feature = Some(&*text).filter(|text| !text.is_empty()).map(Feature::from);
            }
            Dimension::Provider => key.provider = row.get(index)?,
            Dimension::Model => key.model = read_model(row, index)?,
            Dimension::Hour | Dimension::Day | Dimension::Month => key.at = Some(read_time(row, index)?),
        }
    }
    Ok(UsageRow { key, totals: read(row, by.len())? })
}
