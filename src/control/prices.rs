//! The prices in force: those that are listed (built in, and the operator's file), and those of the catalog over them.
//!
//! Two write here, the aggregator when the catalog changes and the process when the file is read again; shards only
//! ever read the table that follows from both.

use crate::store::UsageRow;
use std::sync::{Arc, Mutex, PoisonError};
use tokenist_core::id::Model;
use tokenist_core::money::NanoUsd;
use tokenist_core::price::{Listing, PriceTable};
use tokenist_core::time::Timestamp;
use tokenist_handoff::Published;

#[derive(Debug)]
pub struct Prices {
    parts: Mutex<Parts>,
    in_force: Arc<Published<PriceTable>>,
}

#[derive(Debug)]
struct Parts {
    listed: PriceTable,
    catalog: Vec<Listing>,
}

impl Prices {
    pub fn new(listed: PriceTable) -> Prices {
        let in_force = Arc::new(Published::new(listed.clone()));
        Prices { parts: Mutex::new(Parts { listed, catalog: Vec::new() }), in_force }
    }

    /// For pricing: always the newest.
    pub fn in_force(&self) -> &Arc<Published<PriceTable>> {
        &self.in_force
    }

    /// The built-in list and the file have been read again.
    pub fn set_listed(&self, listed: PriceTable) {
        self.change(|parts| {
            let is_other = parts.listed.rows() != listed.rows();
            parts.listed = listed;
            is_other
        });
    }

    pub(crate) fn set_catalog(&self, catalog: Vec<Listing>) {
        self.change(|parts| {
            let is_other = parts.catalog != catalog;
            parts.catalog = catalog;
            is_other
        });
    }

    /// `change` tells whether it has changed something: a table that is another one has every session look its prices up again.
    fn change(&self, change: impl FnOnce(&mut Parts) -> bool) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        if !change(&mut parts) {
            return;
        }
        // Published under the lock, or the older of two changes could be the last to show.
        self.in_force.set(parts.listed.clone().with_listings(parts.catalog.iter().cloned()));
    }
}

/// What past usage would have cost if a listing had always held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PricePreview {
    pub cost: NanoUsd,
    pub cost_with_it: NanoUsd,
    /// The models that it would have priced.
    pub models: Vec<PreviewedModel>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewedModel {
    pub provider: Arc<str>,
    pub model: Model,
    pub cost: NanoUsd,
    pub cost_with_it: NanoUsd,
}

impl PricePreview {
    /// `rows` are usage by provider and model. Their sums are priced as if they were one response, so a figure may be off
    /// by a nano-dollar for each that they sum up. On which terms each was billed they do not tell: a listing with conditions
    /// prices nothing here.
    pub(crate) fn of(table: &PriceTable, listing: Listing, rows: Vec<UsageRow>) -> PricePreview {
        let tried = Listing { effective_from: Some(Timestamp::MAX), ..listing };
        let table = table.clone().with_listings([tried.clone()]);
        let mut preview = PricePreview::default();
        for UsageRow { key, totals } in rows {
            let (Some(provider), Some(model)) = (key.provider, key.model) else { continue };
            let row = table.row(&provider, model.as_str(), Timestamp::MAX);
            let price = row
                .filter(|row| row.listing == tried)
                .map(|_| table.price(&provider, model.as_str(), Timestamp::MAX));
            let cost_with_it = price.map_or(totals.cost, |price| price.plain_cost(&totals.usage));
            preview.cost += totals.cost;
            preview.cost_with_it += cost_with_it;
            if price.is_some() {
                preview.models.push(PreviewedModel { provider, model, cost: totals.cost, cost_with_it });
            }
        }
        preview
    }
}

/// What of usage is priced by a guess: models for which no price is known, at what any unknown model costs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unpriced {
    pub cost: NanoUsd,
    /// Each once, in order.
    pub models: Vec<Model>,
}

impl Unpriced {
    /// Of rows that tell providers and models apart, by the prices in force `at` a time.
    pub fn of(table: &PriceTable, rows: &[UsageRow], at: Timestamp) -> Unpriced {
        let mut unpriced = Unpriced::default();
        for UsageRow { key, totals } in rows {
            let (Some(provider), Some(model)) = (&key.provider, &key.model) else { continue };
            if table.row(provider, model.as_str(), at).is_none() {
                unpriced.cost += totals.cost;
                unpriced.models.push(model.clone());
            }
        }
        unpriced.models.sort();
        unpriced.models.dedup();
        unpriced
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::UsageKey;
    use tokenist_core::terms::Terms;
    use tokenist_core::totals::Totals;
    use tokenist_core::usage::Usage;

    #[test]
    fn a_list_that_is_read_again_and_a_changed_catalog_leave_each_other_in_force() {
        let listed = |usd: &str| PriceTable::builtin().with_rows(&format!("model,text_in\nm,{usd}")).unwrap();
        let row = |table: &PriceTable| table.rows().last().unwrap().listing.clone();
        let prices = Prices::new(listed("1"));
        let text_in = |model: &str| {
            let table = prices.in_force().load();
            let (rates, _) = table.price("x", model, Timestamp(0)).at(&Usage::default(), &Terms::default());
            rates.text_in.map(|price| price.usd())
        };
        prices.set_catalog(vec![Listing { model: "n".into(), ..row(&listed("5")) }]);
        assert_eq!((text_in("m"), text_in("n")), (Some(1.0), Some(5.0)));
        prices.set_listed(listed("2"));
        assert_eq!((text_in("m"), text_in("n")), (Some(2.0), Some(5.0)));
        prices.set_catalog(vec![row(&listed("7"))]);
        assert_eq!(text_in("m"), Some(7.0));
        prices.set_catalog(Vec::new());
        assert_eq!(text_in("m"), Some(2.0));
        let before = prices.in_force().get();
        prices.set_listed(listed("2"));
        prices.set_catalog(Vec::new());
        assert!(Arc::ptr_eq(&before, &prices.in_force().get()), "nothing has changed");
    }

    #[test]
    fn a_preview_prices_what_the_listing_would_have_and_nothing_else() {
        let list = "model,aliases,text_in,effective_from\nm,n,7,2030-01-01\nm,,9,2020-01-01";
        let table = PriceTable::builtin().with_rows(list).unwrap();
        let [listing, older] = table.rows().last_chunk::<2>().unwrap().clone().map(|row| row.listing);
        let table = table.with_listings([older]);
        let rows = [("m", 1_000), ("n", 2_000), ("other", 4_000)].map(|(model, text_in)| UsageRow {
            key: UsageKey { provider: Some("x".into()), model: Some(model.into()), ..UsageKey::default() },
            totals: Totals {
                usage: Usage { text_in, ..Usage::default() },
                cost: NanoUsd(5),
                ..Totals::default()
            },
        });
        let preview = PricePreview::of(&table, listing, rows.into());
        let models =
            preview.models.iter().map(|tried| (tried.model.as_str(), tried.cost.0, tried.cost_with_it.0));
        assert_eq!(models.collect::<Vec<_>>(), [("m", 5, 7_000_000), ("n", 5, 14_000_000)]);
        assert_eq!((preview.cost, preview.cost_with_it), (NanoUsd(15), NanoUsd(21_000_005)));
    }

    #[test]
    fn what_no_price_is_known_for_is_summed_and_named_once() {
        let row = |provider: &str, model: &str, cost: i64| UsageRow {
            key: UsageKey {
                provider: Some(provider.into()),
                model: Some(model.into()),
                ..UsageKey::default()
            },
            totals: Totals { cost: NanoUsd(cost), ..Totals::default() },
        };
        let rows =
            [row("openai", "gpt-4o-mini", 1), row("openai", "made-up", 20), row("other", "made-up", 300)];
        let unpriced = Unpriced::of(&PriceTable::builtin(), &rows, Timestamp(1_795_478_400_000));
        assert_eq!(unpriced, Unpriced { cost: NanoUsd(320), models: vec!["made-up".into()] });
    }
}
