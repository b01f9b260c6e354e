//! Responses, one by one: opened by whatever is heard of them first, booked once, by what is stated or by estimate.

use super::open::{Open, response_hash};
use super::{Basis, Charge, EstimateMode, Meter, Metered, OPEN_MAX, Reading, name_of, named};
use crate::dialect::{AudioRate, OutputDelta};
use crate::money::NanoUsd;
use crate::price::PriceTable;
use crate::terms::Terms;
use crate::time::Now;
use crate::usage::Usage;
use std::borrow::Cow;

impl Meter {
    /// A response has begun, at a model of its own if it names one.
    pub(super) fn begun(
        &mut self,
        id: Option<&str>,
        model: Option<Cow<'_, str>>,
        output_rate: Option<AudioRate>,
        apart: bool,
        prices: &PriceTable,
        now: Now,
    ) {
        self.forget_booked(id);
        let price = model.and_then(named).map(|model| {
            let price = self.tariff.price(model.as_str(), prices, now.wall);
            (model, price)
        });
        let fresh = |open: &&mut Open| open.audio_bytes == 0;
        if let Some(open) = self.open(id, apart, prices, now).filter(fresh) {
            open.output_rate = output_rate.unwrap_or(open.output_rate);
            if let Some((model, price)) = price {
                (open.model, open.price) = (Some(model), price);
            }
        }
    }

    /// A response begins: if its id was used before, it is another one all the same.
    fn forget_booked(&mut self, id: Option<&str>) {
        if let (Some(id), Some(live)) = (id, &mut self.live) {
            live.forget(response_hash(id));
        }
    }

    /// The open response of an id, opened if it is new; `None` if it is over already. What bears no id belongs to the
    /// response that was touched last: servers without ids run one at a time.
    pub(super) fn open(
        &mut self,
        id: Option<&str>,
        apart: bool,
        prices: &PriceTable,
        now: Now,
    ) -> Option<&mut Open> {
        let live = self.live.get_or_insert_default();
        if id.is_none() && live.open.last().is_some_and(|open| open.is_finished) {
            // The next one begins, and the usage of this one never came.
            let finished = live.open.pop();
            self.overdue(finished, prices, now);
        }
        let live = self.live.get_or_insert_default();
        let found = live.open.iter().rposition(|open| id.is_none() || open.id.as_deref() == id);
        if let Some(index) = found {
            let last = live.open.len() - 1;
            live.open[index..].rotate_left(usize::from(index < last));
        } else {
            let hash = id.map(response_hash);
            if hash.is_some_and(|hash| live.has_booked(hash)) {
                return None;
            }
            if let Some(hash) = hash.filter(|hash| !self.may_meter(*hash)) {
                let live = self.live.get_or_insert_default();
                live.remember(hash);
                live.take_asked(apart);
                return None;
            }
            let live = self.live.get_or_insert_default();
            if live.open.len() == OPEN_MAX {
                let quiet = live.open.remove(0);
                self.overdue(Some(quiet), prices, now);
            }
            let mut open = self.begin(id, apart, prices, now);
            let live = self.live.get_or_insert_default();
            live.overdue.foreseen += open.input_charge;
            if self.abandoned {
                live.overdue.absorb(open.charge_input());
            }
            live.open.push(open);
        }
        self.live.as_mut()?.open.last_mut()
    }

    /// Books a response by its estimate where nothing can be answered.
    fn overdue(&mut self, response: Option<Open>, prices: &PriceTable, now: Now) {
        let Some(response) = response else { return };
        let reading = self.book_response(response, None, &Terms::default(), prices, now);
        self.live.get_or_insert_default().overdue.absorb(reading);
    }

    /// A response that is foreseen to read what there is to be read now.
    fn begin(&mut self, id: Option<&str>, apart: bool, prices: &PriceTable, now: Now) -> Open {
        let price = self.tariff.price(name_of(self.models.session.as_ref()), prices, now.wall);
        let asked = self.live.as_mut().and_then(|live| live.take_asked(apart));
        let (settings_bytes, rate) = (self.settings_bytes, self.input_rate);
        let context = self.context();
        if !apart {
            context.begin(rate);
        }
        let of_its_own = asked.filter(|_| apart).and_then(|asked| asked.input);
        let input = of_its_own.unwrap_or_else(|| context.input(settings_bytes));
        let input_charge = match self.estimate {
            EstimateMode::Enforce => Charge::of(price.plain_cost(&input), &input),
            EstimateMode::Observe | EstimateMode::Off => Charge::default(),
        };
        Open {
            id: id.map(Box::from),
            price,
            model: self.models.session.clone(),
            began_at: Some(now.instant),
            output_rate: self.output_rate,
            said_ms_per_token: self.speaks.rates().said_ms_per_token,
            audio_bytes: 0,
            text_bytes: 0,
            said_at_least: (0, 0),
            charged: Charge::default(),
            input: (self.estimate != EstimateMode::Off).then(|| Box::new(input)),
            input_charge,
            input_is_charged: false,
            searches: 0,
            apart,
            is_finished: false,
            unseen: (self.sound_is_unseen && self.estimate != EstimateMode::Off).then(Box::default),
        }
    }

    /// A response's sound is played from now on, or no more.
    pub(super) fn played(&mut self, id: Option<&str>, is_start: bool, now: Now) -> Reading {
        let estimate = self.estimate;
        let mut open = self.live.iter_mut().flat_map(|live| &mut live.open);
        let open = open.find(|open| id.is_none() || open.id.as_deref() == id);
        let charge = open.map(|open| open.play(Some(is_start), now.instant, estimate));
        Reading { charge: charge.unwrap_or_default(), ..Reading::default() }
    }

    /// What is played is played on.
    pub(super) fn play_on(&mut self, now: Now) -> Reading {
        let (estimate, mut reading) = (self.estimate, Reading::default());
        for open in self.live.iter_mut().flat_map(|live| &mut live.open) {
            reading.charge += open.play(None, now.instant, estimate);
        }
        reading
    }

    pub(super) fn add(&mut self, piece: &OutputDelta<'_>, prices: &PriceTable, now: Now) -> Charge {
        let estimate = self.estimate;
        if estimate == EstimateMode::Off {
            return Charge::default();
        }
        let Some(open) = self.open(piece.response.as_deref(), false, prices, now) else {
            return Charge::default();
        };
        let charge = open.grow(piece.kind, piece.bytes, estimate);
        if let Some(live) = &mut self.live {
            live.growing = Some(piece.kind);
        }
        charge
    }

    pub(super) fn done(
        &mut self,
        id: Option<&str>,
        usage: Option<Usage>,
        terms: &Terms<'_>,
        prices: &PriceTable,
        now: Now,
    ) -> Reading {
        let live = self.live.get_or_insert_default();
        live.growing = None;
        if id.is_some_and(|id| live.has_booked(response_hash(id))) || live.is_repeated(usage.as_ref()) {
            self.counts.duplicate += 1;
            return Reading::default();
        }
        let of_id = live.open.iter().position(|open| id.is_none() || open.id.as_deref() == id);
        let found = of_id.or_else(|| live.open.iter().position(|open| open.id.is_none()));
        let mut response = match found {
            Some(index) => live.open.remove(index),
            None => {
                if let Some(hash) = id.map(response_hash).filter(|hash| !self.may_meter(*hash)) {
                    self.live.get_or_insert_default().remember(hash);
                    self.counts.duplicate += 1;
                    return Reading::default();
                }
                let unseen = self.begin(id, false, prices, now);
                self.live.get_or_insert_default().overdue.foreseen += unseen.input_charge;
                Open { began_at: None, ..unseen }
            }
        };
        response.id = response.id.or_else(|| id.map(Box::from));
        self.book_response(response, usage, terms, prices, now)
    }

    /// A response is over, of which nobody states what it was. Characters are those of the request, and no guess.
    pub(super) fn measured(
        &mut self,
        id: Option<&str>,
        usage: Usage,
        terms: &Terms<'_>,
        prices: &PriceTable,
        now: Now,
    ) -> Reading {
        let Some(open) = self.open(id, true, prices, now) else { return Reading::default() };
        let usage = open.price.measured(usage);
        if usage.characters_in > 0 {
            return self.done(id, Some(usage), terms, prices, now);
        }
        open.measure(usage);
        self.done(id, None, terms, prices, now)
    }

    /// A response has come to nothing; what it was said to read was not billed then, unless it has said something.
    pub(super) fn dropped(&mut self, id: Option<&str>, prices: &PriceTable, now: Now) -> Reading {
        let live = self.live.get_or_insert_default();
        let is_it = |open: &Open| open.id.as_deref() == id && open.tokens() == (0, 0);
        let Some(index) = live.open.iter().position(is_it) else {
            let is_open = live.open.iter().any(|open| open.id.as_deref() == id);
            return match is_open {
                true => self.done(id, None, &Terms::default(), prices, now),
                false => Reading::default(),
            };
        };
        let dropped = live.open.remove(index);
        if let Some(id) = id {
            live.remember(response_hash(id));
        }
        Reading {
            charge: Charge::default() - dropped.charged,
            foreseen: Charge::default() - dropped.foreseen(),
            ..Reading::default()
        }
    }

    /// Books a response that is not among the open ones any more, at what it costs now.
    pub(super) fn book_response(
        &mut self,
        response: Open,
        usage: Option<Usage>,
        terms: &Terms<'_>,
        prices: &PriceTable,
        now: Now,
    ) -> Reading {
        if let Some(id) = &response.id {
            self.live.get_or_insert_default().remember(response_hash(id));
        }
        if !response.apart {
            let said = response.tokens();
            self.context().finish(usage.as_ref(), said);
            let live = self.live.get_or_insert_default();
            live.stated = usage.map(Box::new).or(live.stated.take());
        }
        let (usage, basis) = match usage {
            Some(usage) => (usage, Basis::Stated),
            None => (response.usage(), Basis::Estimated),
        };
        let usage = Usage { searches: usage.searches.max(response.searches.into()), ..usage };
        let latency_ms = response.began_at.map(|began_at| now.instant.since(began_at));
        let foreseen = response.foreseen();
        let price = self.tariff.price(name_of(response.model.as_ref()), prices, now.wall);
        let metered = self.book(response.model, &price, usage, terms, basis);
        let metered = self.without_before(Metered { latency_ms, ..metered });
        Reading {
            charge: Charge::of(metered.cost, &metered.usage) - response.charged,
            foreseen: Charge::default() - foreseen,
            booked: vec![metered],
            ..Reading::default()
        }
    }

    /// Less what was booked of it before. What is less than that stays booked, for no sum shrinks.
    fn without_before(&mut self, metered: Metered) -> Metered {
        let before = self.live.as_mut().and_then(|live| live.booked_before.take());
        let Some((usage, cost)) = before.map(|before| *before) else { return metered };
        let usage = metered.usage.zip(usage, u64::saturating_sub).clamped();
        Metered { usage, cost: NanoUsd((metered.cost.0 - cost.0).max(0)), ..metered }
    }
}
