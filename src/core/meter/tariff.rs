//! What the models of one session cost, looked up once for each and anew when the table or the day changes.

use crate::price::{Price, PriceTable, Reign};
use crate::terms::Terms;
use crate::time::Timestamp;
use std::sync::Arc;

/// Whose prices hold for a session, and on which terms all of it is billed.
#[derive(Clone, Debug)]
pub struct Billing(Arc<Standing>);

#[derive(Debug)]
struct Standing {
    provider: Arc<str>,
    terms: Terms<'static>,
}

impl Billing {
    pub fn new(provider: Arc<str>, terms: Terms<'static>) -> Billing {
        Billing(Arc::new(Standing { provider, terms }))
    }
}

impl From<&str> for Billing {
    fn from(provider: &str) -> Billing {
        Billing::new(provider.into(), Terms::default())
    }
}

/// The prices of a session's models.
#[derive(Debug)]
pub(super) struct Tariff {
    billing: Billing,
    known: LookedUp,
}

/// Prices of a provider's models that one session has looked up, for the next one.
#[derive(Clone, Debug, Default)]
pub struct LookedUp(Option<Arc<Known>>);

/// Prices that were looked up, while they hold.
#[derive(Clone, Debug, Default)]
struct Known {
    /// On which the session is billed, besides those of its provider.
    terms: Terms<'static>,
    reign: Reign,
    prices: Vec<(Box<str>, Arc<Price>)>,
}

/// A session that names more models than this has some looked up again.
const MODELS_MAX: usize = 8;

impl Tariff {
    pub(super) fn new(billing: Billing) -> Tariff {
        Tariff { billing, known: LookedUp::default() }
    }

    /// What another session of the provider has looked up need not be again.
    pub(super) fn begin_with(&mut self, known: LookedUp) {
        self.known = known;
    }

    /// What other sessions of the provider need not look up: nothing where this one is billed on terms of its own.
    pub(super) fn looked_up(&self) -> Option<LookedUp> {
        self.known.0.as_ref().filter(|known| known.terms.is_empty()).map(|_| self.known.clone())
    }

    /// From now on all is billed on these terms as well.
    pub(super) fn bill_on(&mut self, terms: &Terms<'_>) {
        let terms = Terms::default().and(terms);
        self.known = LookedUp(Some(Arc::new(Known { terms, ..Known::default() })));
    }

    /// What a model costs at a time.
    pub(super) fn price(&mut self, model: &str, table: &PriceTable, at: Timestamp) -> Arc<Price> {
        let holding = self.known.0.as_ref().filter(|known| known.reign.holds(table, at));
        let found = holding.and_then(|known| known.prices.iter().find(|(name, _)| **name == *model));
        if let Some((_, price)) = found {
            return Arc::clone(price);
        }
        let known = Arc::make_mut(self.known.0.get_or_insert_default());
        if !known.reign.holds(table, at) {
            known.prices.clear();
            known.reign = table.reign(at);
        }
        let Standing { provider, terms } = &*self.billing.0;
        let price = match known.terms.is_empty() {
            true => table.price_on(provider, model, terms, at),
            false => table.price_on(provider, model, &terms.and(&known.terms), at),
        };
        if known.prices.len() == MODELS_MAX {
            known.prices.remove(0);
        }
        // Nearly every session has one.
        known.prices.reserve_exact(1);
        known.prices.push((model.into(), Arc::clone(&price)));
        price
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::Usage;

    fn cents(price: &Price) -> i64 {
        price.cost(&Usage { text_in: 10_000, ..Usage::default() }, &Terms::default()).0 / 10_000_000
    }

    #[test]
    fn a_price_is_looked_up_again_when_the_day_or_the_table_changes() {
        let list = "model,text_in,effective_from\nm,1,\nm,2,2027-01-01";
        let table = PriceTable::builtin().with_rows(list).unwrap();
        let mut tariff = Tariff::new("x".into());
        let day = Timestamp::parse_date("2027-01-01").unwrap();
        let mut at = |table: &PriceTable, at| cents(&tariff.price("m", table, at));
        assert_eq!([day.minus_ms(1), day, day.minus_ms(1)].map(|time| at(&table, time)), [1, 2, 1]);
        assert_eq!(
            at(&table.clone().with_rows("model,text_in\nm,3").unwrap(), day),
            2,
            "the later edition is in effect"
        );
        assert_eq!(at(&PriceTable::builtin().with_rows("model,text_in\nm,3").unwrap(), day), 3);
    }

    #[test]
    fn a_session_that_names_ever_new_models_keeps_few_of_them() {
        let (table, mut tariff) = (PriceTable::builtin(), Tariff::new("openai".into()));
        for number in 0..20 {
            let model = format!("gpt-4.1-{number}");
            assert!(!tariff.price(&model, &table, Timestamp(0)).known);
        }
        assert_eq!(tariff.known.0.as_ref().unwrap().prices.len(), MODELS_MAX);
        assert!(tariff.price("gpt-4.1", &table, Timestamp(0)).known);
    }

    #[test]
    fn what_one_session_has_looked_up_is_the_next_ones_unless_its_terms_are_its_own() {
        let table = PriceTable::default().with_rows("model,text_in\nm,1").unwrap();
        let mut first = Tariff::new("x".into());
        let price = first.price("m", &table, Timestamp(0));
        let mut next = Tariff::new("x".into());
        next.begin_with(first.looked_up().unwrap());
        assert!(Arc::ptr_eq(&price, &next.price("m", &table, Timestamp(0))));
        assert!(!next.price("other", &table, Timestamp(0)).known);
        let prices = |tariff: &Tariff| tariff.looked_up()?.0.map(|known| known.prices.len());
        assert_eq!(
            [prices(&first), prices(&next)],
            [Some(1), Some(2)],
            "neither changes what the other knows"
        );
        let dearer = PriceTable::default().with_rows("model,text_in\nm,2").unwrap();
        assert_eq!(cents(&next.price("m", &dearer, Timestamp(0))), 2, "another table says something else");
        next.bill_on(&Terms::default().with("service_tier", "priority"));
        next.price("m", &table, Timestamp(0));
        assert_eq!(prices(&next), None);
    }
}
