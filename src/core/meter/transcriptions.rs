//! What is said and written down: booked by what the provider states of it, else by how long it was heard.

use super::open::{Unheard, item_hash, transcription_hash};
use super::{AWAITED_MAX, Basis, Charge, EstimateMode, Meter, Reading, name_of};
use crate::price::PriceTable;
use crate::terms::Terms;
use crate::time::Now;
use crate::usage::Usage;

impl Meter {
    /// What was said is an item now, and will be written down where that was asked for.
    pub(super) fn committed(&mut self, item: Option<&str>, prices: &PriceTable, now: Now) -> Reading {
        let rate = self.input_rate;
        let sound_ms = self.context().commit(item.map(item_hash), rate);
        let Some(item) = item.filter(|_| sound_ms > 0 && self.models.transcription.is_some()) else {
            return Reading::default();
        };
        if self.estimate == EstimateMode::Off {
            return Reading::default();
        }
        let live = self.live.get_or_insert_default();
        let oldest = if live.unheard.len() == AWAITED_MAX { live.unheard.pop_front() } else { None };
        live.unheard.push_back(Unheard { hash: transcription_hash(item, 0), sound_ms });
        oldest.map(|oldest| self.book_unheard(oldest, prices, now)).unwrap_or_default()
    }

    pub(super) fn transcribed(
        &mut self,
        item: Option<&str>,
        content_index: u64,
        usage: Option<Usage>,
        prices: &PriceTable,
        now: Now,
    ) -> Reading {
        let hash = item.map(|item| transcription_hash(item, content_index));
        let live = self.live.get_or_insert_default();
        let unheard = hash.and_then(|hash| live.take_unheard(hash));
        if hash.is_some_and(|hash| live.has_booked(hash)) {
            self.counts.duplicate += 1;
            return Reading::default();
        }
        let Some(usage) = usage else {
            // As the beta does: what was heard of the speech is all there is to go by.
            return match unheard {
                Some(unheard) => self.book_unheard(unheard, prices, now),
                None => {
                    self.counts.unmetered += 1;
                    Reading::default()
                }
            };
        };
        if let Some(hash) = hash {
            live.remember(hash);
            if !self.may_meter(hash) {
                self.counts.duplicate += 1;
                return Reading::default();
            }
        }
        self.book_transcription(usage, Basis::Stated, prices, now)
    }

    /// Books what was said and not written down, as if it had been.
    pub(super) fn book_unheard(&mut self, unheard: Unheard, prices: &PriceTable, now: Now) -> Reading {
        let Unheard { hash, sound_ms } = unheard;
        self.live.get_or_insert_default().remember(hash);
        if self.may_meter(hash) { self.book_sound(sound_ms, 1, prices, now) } else { Reading::default() }
    }

    pub(super) fn book_sound(
        &mut self,
        sound_ms: u64,
        requests: u64,
        prices: &PriceTable,
        now: Now,
    ) -> Reading {
        if sound_ms == 0 || self.estimate == EstimateMode::Off || self.models.transcription.is_none() {
            return Reading::default();
        }
        let model = name_of(self.models.transcription.as_ref());
        let usage = match self.tariff.price(model, prices, now.wall).bills_time() {
            true => Usage { duration_ms: sound_ms, requests, ..Usage::default() },
            false => {
                let audio_in = sound_ms.div_ceil(self.speaks.rates().heard_ms_per_token);
                Usage { audio_in, requests, ..Usage::default() }
            }
        };
        self.book_transcription(usage, Basis::Estimated, prices, now)
    }

    fn book_transcription(&mut self, usage: Usage, basis: Basis, prices: &PriceTable, now: Now) -> Reading {
        let model = self.models.transcription.clone();
        let price = self.tariff.price(name_of(model.as_ref()), prices, now.wall);
        let metered = self.book(model, &price, usage, &Terms::default(), basis);
        let charge = Charge::of(metered.cost, &metered.usage);
        Reading { charge, booked: vec![metered], ..Reading::default() }
    }
}
