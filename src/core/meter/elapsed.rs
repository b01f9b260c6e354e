//! Running totals: what a session has come to, by the clock, by what was sent or by what its provider states.

use super::open::total_hash;
use super::running::Growth;
use super::{Basis, Charge, Context, EstimateMode, Meter, Metered, Reading};
use crate::dialect::{AudioRate, SESSION_TIME};
use crate::id::Model;
use crate::price::PriceTable;
use crate::terms::Terms;
use crate::time::Now;
use crate::usage::Usage;
use std::borrow::Cow;

impl Meter {
    /// Whether time is billed as it passes, or what the application says; or is what tells how much is said.
    #[inline]
    pub fn is_timed(&self) -> bool {
        self.running.is_some() || self.sound_is_unseen
    }

    /// Books the time that is billed as it passes, every few seconds, and charges what of it is not stated yet; and what else the
    /// application has added that is billed: call it whenever there is occasion.
    pub fn elapse(&mut self, prices: &PriceTable, now: Now) -> Reading {
        let is_due = self.running.as_ref().is_some_and(|running| running.is_due(now.instant));
        let mut reading = if is_due { self.book_elapsed(prices, now) } else { Reading::default() };
        reading.absorb(self.charge_ahead(prices, now));
        reading.absorb(self.book_written(prices, now));
        if self.sound_is_unseen {
            reading.absorb(self.play_on(now));
        }
        self.reading(reading)
    }

    /// Whether all that is heard is written down, and nobody has stated what that costs.
    pub(super) fn writes_all(&self) -> bool {
        let is_stated = self.live.as_ref().is_some_and(|live| live.stated.is_some());
        self.only_transcribes && self.speaks.rates().sound_is_read_as_it_comes && !is_stated
    }

    /// Books what has been written down so, in pieces.
    fn book_written(&mut self, prices: &PriceTable, now: Now) -> Reading {
        let rate = self.input_rate;
        let taken = |context: &mut Box<Context>| context.take_sound(WRITTEN_EACH_MS, rate);
        let sound_ms = if self.writes_all() { self.context.as_mut().map_or(0, taken) } else { 0 };
        self.book_sound(sound_ms, 0, prices, now)
    }

    /// How long the session is by estimate, where that is billed.
    fn estimated_ms(&self, now: Now) -> Option<u64> {
        let running = self.running.as_ref()?;
        let ms = running.estimated_ms(self.sent_ms(), now.instant)?;
        (self.is_owner || self.may_meter(total_hash(SESSION_TIME))).then_some(ms)
    }

    /// How long the sound is that was sent, where that is billed and can be told by its bytes.
    pub(super) fn sent_ms(&self) -> Option<u64> {
        let rate = self.input_rate;
        let is_told = self.speaks.rates().sound_is_billed && rate != AudioRate::UNKNOWN;
        let in_base64 = || self.context.as_ref().map_or(0, |sent| sent.uncommitted_ms(rate, false));
        let before = || self.running.as_ref().map_or(0, |running| running.heard_ms);
        is_told.then(|| before().saturating_add(in_base64()).saturating_add(rate.ms(self.heard_bytes)))
    }

    /// The form of sound that the application asks for. Once it has asked, no later word of it has a byte be less time: a provider
    /// that takes no second word goes on with the first, and one that takes it may have billed by either.
    pub(super) fn asked_rate(&mut self, rate: AudioRate) -> AudioRate {
        let running = self.running.get_or_insert_default();
        let is_first = !std::mem::replace(&mut running.form_is_asked, true);
        let is_less = [rate, self.input_rate].contains(&AudioRate::UNKNOWN)
            || rate.bytes_per_second > self.input_rate.bytes_per_second;
        if is_first || !is_less { rate } else { self.input_rate }
    }

    /// Sound comes in this form from now on. What has come before stays as long as it was, where that is billed.
    pub(super) fn set_input_rate(&mut self, rate: AudioRate) {
        let before = self.input_rate;
        let heard_ms = self.sent_ms().filter(|ms| rate != before && *ms > 0);
        match heard_ms {
            None => self.input_rate = rate,
            // Its length could not be told any more.
            Some(_) if rate == AudioRate::UNKNOWN => {}
            Some(heard_ms) => {
                self.running.get_or_insert_default().heard_ms = heard_ms;
                (self.heard_bytes, self.input_rate) = (0, rate);
                self.context().clear();
            }
        }
    }

    /// Charges the session's time ahead of what is stated of it, or books it if nothing was for long.
    fn charge_ahead(&mut self, prices: &PriceTable, now: Now) -> Reading {
        let Some(ms) = self.estimated_ms(now) else { return Reading::default() };
        if self.running.as_mut().is_some_and(|running| running.is_unstated(now.instant)) {
            return self.book_ahead(prices, now);
        }
        if self.estimate != EstimateMode::Enforce {
            return Reading::default();
        }
        let (_, price) = self.priced(None, prices, now);
        let running = self.running.as_mut();
        let charge = running.map(|running| running.charge_ahead(ms, total_hash(SESSION_TIME), &price));
        Reading { charge: charge.unwrap_or_default(), ..Reading::default() }
    }

    /// Books the session's time as far as it is known by estimate alone.
    pub(super) fn book_ahead(&mut self, prices: &PriceTable, now: Now) -> Reading {
        let Some(ms) = self.estimated_ms(now) else { return Reading::default() };
        let usage = Usage { duration_ms: ms, requests: 1, ..Usage::default() };
        self.total((SESSION_TIME, None), (usage, &Terms::default()), Basis::Estimated, prices, now)
    }

    /// A running total has come to this.
    pub(super) fn total(
        &mut self,
        (key, model): (&str, Option<Cow<'_, str>>),
        (usage, terms): (Usage, &Terms<'_>),
        basis: Basis,
        prices: &PriceTable,
        now: Now,
    ) -> Reading {
        if !self.may_meter(total_hash(key)) {
            self.counts.duplicate += 1;
            return Reading::default();
        }
        let (model, price) = self.priced(model, prices, now);
        let running = self.running.get_or_insert_default();
        let growth = running.state(total_hash(key), usage, &price, terms);
        let ahead = if key == SESSION_TIME { running.take_ahead(now.instant) } else { Charge::default() };
        let mut reading = self.book_growth(model, growth, basis);
        reading.charge = reading.charge - ahead;
        reading
    }

    /// The clock by which time is billed runs, or stands, from now on.
    pub(super) fn set_clock(&mut self, runs: bool, prices: &PriceTable, now: Now) -> Reading {
        let (model, price) = self.priced(None, prices, now);
        let running = self.running.get_or_insert_default();
        let growth = running.set_clock(runs, now.instant, total_hash(CLOCK), &price);
        self.book_growth(model, growth, Basis::Stated)
    }

    pub(super) fn book_elapsed(&mut self, prices: &PriceTable, now: Now) -> Reading {
        if self.running.is_none() {
            return self.reading(Reading::default());
        }
        let (model, price) = self.priced(None, prices, now);
        let running = self.running.as_mut();
        let growth = running.and_then(|running| running.elapse(now.instant, total_hash(CLOCK), &price));
        let booked = self.book_growth(model, growth, Basis::Stated);
        self.reading(booked)
    }

    /// Books what a running sum has grown by.
    fn book_growth(&mut self, model: Option<Model>, growth: Option<Growth>, basis: Basis) -> Reading {
        let Some(Growth { usage, cost, price }) = growth else { return Reading::default() };
        let metered = Metered { cost, ..self.book(model, &price, usage, &Terms::default(), basis) };
        Reading {
            charge: Charge::of(metered.cost, &metered.usage),
            booked: vec![metered],
            ..Reading::default()
        }
    }
}

/// The total that elapsed time is kept under.
const CLOCK: &str = "elapsed time";

/// What is written down is booked in pieces of so long: what a limit on it can be passed by. It is a whole number of bytes in
/// base64 at every usual rate.
const WRITTEN_EACH_MS: u64 = 6_000;
