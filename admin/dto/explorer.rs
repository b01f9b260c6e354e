//! Usage by whatever one likes.

use super::history::GRAINS;
use super::span::{Coverage, TimeRange};
use super::{Grain, Grouping, LIST_MAX, OFFSET_MAX, Series, Usage};
use crate::fields::{Fields, FromFields};
use crate::now;
use serde::Serialize;
use std::sync::Arc;
use tokenist_control::explore::{Exploration, Explored};
use tokenist_control::prices::Unpriced;
use tokenist_control::store::{Order, UsageQuery, UsageRow};
use tokenist_core::id::{self, Feature, Model, OrgId, UserId};
use tokenist_core::time::Timestamp;
use utoipa::{IntoParams, ToSchema};

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExplorerQuery {
    #[param(ignore)]
    pub(super) time_range: TimeRange,
    /// A row for each combination of up to three of `user`, `org`, `feature`, `provider`, `model`, with commas between
    /// them. Without it one row in all.
    #[param(value_type = Option<String>, nullable = false)]
    pub(super) by: Vec<Grouping>,
    /// How long a point of the series is; by default what suits the stretch, and no series with `none`. In a table
    /// there is a row for each point if this is said.
    #[param(value_type = Option<SeriesGrain>, inline, nullable = false)]
    pub(super) grain: Option<Option<Grain>>,
    /// Only these users: up to 1,000 ids with commas between them.
    #[param(value_type = Option<String>, nullable = false)]
    users: Vec<UserId>,
    /// This user, too, whose id may hold commas.
    #[param(value_type = Option<String>, nullable = false)]
    user: Option<UserId>,
    /// Only usage within this org; likewise the next three.
    #[param(value_type = Option<String>, nullable = false)]
    org: Option<OrgId>,
    #[param(value_type = Option<String>, nullable = false)]
    feature: Option<Feature>,
    #[param(value_type = Option<String>, nullable = false)]
    provider: Option<Arc<str>>,
    #[param(value_type = Option<String>, nullable = false)]
    model: Option<Model>,
    /// The dearest first, as by default, or by name.
    #[param(value_type = Option<RowSort>, inline, nullable = false)]
    sort: Order,
    /// At most this many rows. A table without it has all of them.
    #[param(nullable = false, minimum = 1, maximum = 10_000, default = 100)]
    limit: Option<usize>,
    /// Leaves out so many of the first.
    #[param(value_type = Option<usize>, nullable = false, maximum = 1_000_000, default = 0)]
    pub(super) offset: usize,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "describes a parameter")]
enum SeriesGrain {
    Hour,
    Day,
    Month,
    None,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "describes a parameter")]
enum RowSort {
    Cost,
    Key,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Explorer {
    #[serde(flatten)]
    coverage: Coverage,
    by: Vec<Grouping>,
    /// In all.
    usage: Usage,
    /// The part of its cost that is a guess, because no price is known for the model.
    unpriced_cost_usd: f64,
    rows: Vec<ExplorerRow>,
    /// How many rows there are, also where `limit` cut them.
    total: usize,
    /// By the first of `by`.
    #[schema(required)]
    series: Option<Series>,
}

/// What was not asked for is null, and so is usage without such a name.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ExplorerRow {
    #[schema(required)]
    user: Option<String>,
    #[schema(required)]
    org: Option<String>,
    #[schema(required)]
    feature: Option<String>,
    #[schema(required)]
    provider: Option<String>,
    #[schema(required)]
    model: Option<String>,
    /// The user's name, if it is known.
    #[schema(required)]
    display_name: Option<String>,
    usage: Usage,
    /// No price is known for the model, so its cost is a guess. False where models are not told apart.
    unpriced: bool,
}

impl FromFields for ExplorerQuery {
    fn from_fields(fields: &mut Fields) -> Option<ExplorerQuery> {
        let time_range = TimeRange::from_fields(fields);
        let by = fields.list("by", 3, |bytes| {
            let word = Grouping::WORDS.into_iter().find(|(word, _)| word.as_bytes() == bytes);
            word.map(|(_, grouping)| grouping).ok_or("is none of user, org, feature, provider, model")
        });
        let twice = |by: &Vec<Grouping>| (1..by.len()).any(|index| by[..index].contains(&by[index]));
        if by.as_ref().is_some_and(twice) {
            fields.issue::<()>("by", "custom", "by must not name the same twice");
        }
        let grain = fields.word("grain", &SERIES_GRAINS);
        let users = fields.list("users", super::USERS_MAX, UserId::parse);
        let user = fields.parsed("user", UserId::parse);
        let org = fields.parsed("org", OrgId::parse);
        let feature = fields.parsed("feature", Feature::parse);
        let provider = fields.parsed("provider", |bytes| id::read(bytes).map(Arc::from));
        let model = fields.parsed("model", Model::parse);
        let sort = fields.word("sort", &SORTS).unwrap_or_default();
        let limit = fields.count("limit", 1, LIST_MAX as u64).map(|limit| limit as usize);
        let offset = fields.count("offset", 0, OFFSET_MAX).map_or(0, |offset| offset as usize);
        let time_range = time_range?;
        let query = ExplorerQuery {
            time_range,
            by: by?,
            grain,
            users: users?,
            user,
            org,
            feature,
            provider,
            model,
            sort,
            limit,
            offset,
        };
        if let Some(grain) = query.series_grain(now()) {
            grain.check(fields, time_range.span(now()), now());
        }
        Some(query)
    }
}

impl ExplorerQuery {
    /// For an answer in JSON.
    pub(crate) fn question(&self, now: Timestamp) -> Exploration {
        let span = self.time_range.span(now);
        let limit = self.limit.unwrap_or(ROWS_DEFAULT);
        let first = self.by.first().copied();
        Exploration {
            query: UsageQuery { order: self.sort, limit, ..self.usage(now) },
            offset: self.offset,
            series: self.series_grain(now).map(|grain| grain.series(first, span, now)),
        }
    }

    /// For a table: no row is left out but those before the offset and beyond a limit that was asked for.
    pub(crate) fn table_question(&self, now: Timestamp) -> UsageQuery {
        let time = self.grain.flatten().map(|grain| grain.step().dimension());
        let mut query = self.usage(now);
        query.by.extend(time);
        query.order = if time.is_some() { Order::Key } else { self.sort };
        query.limit = self.limit.map_or(usize::MAX, |limit| self.offset.saturating_add(limit));
        query
    }

    fn usage(&self, now: Timestamp) -> UsageQuery {
        let span = self.time_range.span(now);
        UsageQuery {
            from: span.from,
            to: span.to,
            users: self.users.iter().chain(&self.user).cloned().collect(),
            org: self.org.clone(),
            feature: self.feature.clone(),
            provider: self.provider.clone(),
            model: self.model.clone(),
            by: self.by.iter().map(|grouping| grouping.dimension()).collect(),
            ..UsageQuery::default()
        }
    }

    fn series_grain(&self, now: Timestamp) -> Option<Grain> {
        self.grain.unwrap_or_else(|| Some(Grain::for_span(self.time_range.span(now))))
    }
}

impl Explorer {
    /// `names` are in order of the rows.
    pub(crate) fn of(
        query: &ExplorerQuery,
        explored: Explored,
        names: Vec<Option<Arc<str>>>,
        unpriced: &Unpriced,
        now: Timestamp,
    ) -> Explorer {
        let series = explored.series.as_ref().zip(query.series_grain(now));
        Explorer {
            coverage: query.time_range.coverage(now),
            by: query.by.clone(),
            usage: (&explored.whole).into(),
            unpriced_cost_usd: unpriced.cost.usd(),
            rows: explored
                .rows
                .iter()
                .zip(names)
                .map(|(row, name)| ExplorerRow::of(row, name, unpriced))
                .collect(),
            total: explored.row_count,
            series: series.map(|(series, grain)| Series::of(grain, series)),
        }
    }
}

impl ExplorerRow {
    fn of(row: &UsageRow, name: Option<Arc<str>>, unpriced: &Unpriced) -> ExplorerRow {
        let text = |by: Grouping| text_of(row, by).map(str::to_owned);
        ExplorerRow {
            user: text(Grouping::User),
            org: text(Grouping::Org),
            feature: text(Grouping::Feature),
            provider: text(Grouping::Provider),
            model: text(Grouping::Model),
            display_name: name.map(|name| name.to_string()),
            usage: (&row.totals).into(),
            unpriced: row.key.model.as_ref().is_some_and(|model| unpriced.models.contains(model)),
        }
    }
}

pub(super) fn text_of(row: &UsageRow, by: Grouping) -> Option<&str> {
    let key = &row.key;
    match by {
        Grouping::User => key.user.as_ref().map(UserId::as_str),
        Grouping::Org => key.org.as_ref().map(OrgId::as_str),
        Grouping::Feature => key.feature.as_ref().map(Feature::as_str),
        Grouping::Provider => key.provider.as_deref(),
        Grouping::Model => key.model.as_ref().map(Model::as_str),
    }
}

const ROWS_DEFAULT: usize = 100;
const SERIES_GRAINS: [(&str, Option<Grain>); 4] = [
    (GRAINS[0].0, Some(GRAINS[0].1)),
    (GRAINS[1].0, Some(GRAINS[1].1)),
    (GRAINS[2].0, Some(GRAINS[2].1)),
    ("none", None),
];
const SORTS: [(&str, Order); 2] = [("cost", Order::Cost), ("key", Order::Key)];
