//! What the provider says, event by event, and what each of them does to the sums.

use super::open::{item_hash, transcription_hash};
use super::{Basis, Charge, EstimateMode, Meter, Peeked, Reading};
use crate::dialect::{Peek, ProviderEvent, Rest};
use crate::price::PriceTable;
use crate::time::Now;

impl Meter {
    /// The provider has taken the session that was asked for at `target`, a path with its query: what that tells.
    pub fn start(&mut self, target: &str, prices: &PriceTable, now: Now) -> Reading {
        let mut reading = Reading::default();
        let Some(dialect) = self.speaks.dialect() else { return reading };
        dialect.start(target, &mut |event| reading.absorb(self.apply(event, prices, now)));
        self.model_is_named = false;
        reading
    }

    /// Looks at an event of the provider: all of it, or at least its first [`crate::dialect::HEAD_BYTES_MAX`] bytes. Where
    /// nobody knows yet how much more comes, [`Meter::grow`] is told of it.
    #[inline]
    pub fn peek(&mut self, event: &[u8], rest: Rest, prices: &PriceTable, now: Now) -> Peeked {
        if let Some(live) = &mut self.live {
            live.growing = None;
        }
        let Some(dialect) = self.speaks.dialect() else { return Peeked::Pass };
        match dialect.peek(event, rest) {
            Peek::Nothing => Peeked::Pass,
            Peek::Whole => Peeked::Collect,
            Peek::OutputDelta(piece) => match self.add(&piece, prices, now) {
                charge if charge == Charge::default() => Peeked::Pass,
                charge => Peeked::Charge(charge),
            },
        }
    }

    /// More of the event that was peeked at last, if its length was not known then.
    pub fn grow(&mut self, bytes: u64) -> Charge {
        let estimate = self.estimate;
        let Some(live) = &mut self.live else { return Charge::default() };
        match (live.growing, live.open.last_mut()) {
            (Some(kind), Some(open)) => open.grow(kind, bytes, estimate),
            _ => Charge::default(),
        }
    }

    /// A whole event that was asked for.
    pub fn read(&mut self, event: &[u8], prices: &PriceTable, now: Now) -> Reading {
        let mut reading = Reading::default();
        let Some(dialect) = self.speaks.dialect() else { return reading };
        dialect.read(event, &mut |event| reading.absorb(self.apply(event, prices, now)));
        reading
    }

    /// What an answer over HTTP tells.
    pub fn take(&mut self, event: ProviderEvent<'_>, prices: &PriceTable, now: Now) -> Reading {
        self.apply(event, prices, now)
    }

    /// An event that was asked for but is too large to keep. What `head`, its beginning, tells is used; a response
    /// that it ends without usage is booked by estimate.
    pub fn unmetered(&mut self, head: &[u8], prices: &PriceTable, now: Now) -> Reading {
        let mut reading = Reading::default();
        let Some(dialect) = self.speaks.dialect() else { return reading };
        dialect.read(head, &mut |event| {
            self.counts.unmetered += u32::from(matches!(event, ProviderEvent::Done { usage: None, .. }));
            reading.absorb(self.apply(event, prices, now));
        });
        reading
    }

    fn apply(&mut self, event: ProviderEvent<'_>, prices: &PriceTable, now: Now) -> Reading {
        let reading = match event {
            ProviderEvent::Nothing => Reading::default(),
            ProviderEvent::Unreadable => {
                self.counts.unmetered += 1;
                Reading::default()
            }
            ProviderEvent::Session(settings) => {
                let only_transcribes =
                    self.models.session.is_none() && settings.transcription_model.is_some();
                self.model_is_named |= settings.model.is_some() || only_transcribes;
                self.take_settings(*settings, prices, now);
                Reading::default()
            }
            ProviderEvent::Begun { response, model, output_rate, apart } => {
                self.begun(response.as_deref(), model, output_rate, apart, prices, now);
                Reading::default()
            }
            ProviderEvent::OutputDelta(piece) => {
                Reading { charge: self.add(&piece, prices, now), ..Reading::default() }
            }
            ProviderEvent::SoFar { response, usage } => {
                let estimate = self.estimate;
                let open = self.open(response.as_deref(), true, prices, now);
                let stated = open.filter(|_| estimate != EstimateMode::Off);
                stated.map(|open| open.state(usage, estimate)).unwrap_or_default()
            }
            ProviderEvent::Finished => {
                if let Some(open) = self.live.as_mut().and_then(|live| live.open.last_mut()) {
                    open.is_finished = true;
                }
                Reading::default()
            }
            ProviderEvent::Done { response, usage, terms } => {
                self.done(response.as_deref(), usage, &terms, prices, now)
            }
            ProviderEvent::Measured { response, usage, terms } => {
                self.measured(response.as_deref(), usage, &terms, prices, now)
            }
            ProviderEvent::Dropped { response } => self.dropped(response.as_deref(), prices, now),
            ProviderEvent::Total { key, model, usage, terms } => {
                self.total((&key, model), (usage, &terms), Basis::Stated, prices, now)
            }
            ProviderEvent::Item { id, model, usage, terms } => {
                self.item(id.as_deref(), model, usage, &terms, prices, now)
            }
            ProviderEvent::Clock { runs } => self.set_clock(runs, prices, now),
            ProviderEvent::Ahead { grows } => {
                let charged = self.running.get_or_insert_default().set_ahead(grows, now.instant);
                Reading { charge: Charge::default() - charged, ..Reading::default() }
            }
            ProviderEvent::Answered { response: _, item } => {
                self.context().answer(item_hash(&item));
                Reading::default()
            }
            ProviderEvent::Added { item } => {
                if let Some(context) = &mut self.context {
                    context.name(item_hash(&item));
                }
                Reading::default()
            }
            ProviderEvent::Committed { item } => self.committed(item.as_deref(), prices, now),
            ProviderEvent::Speech { is_start, at_ms } => {
                self.context().hear_speech(is_start, at_ms);
                Reading::default()
            }
            ProviderEvent::Refused => {
                if let Some(live) = &mut self.live {
                    live.asked.pop_front();
                }
                Reading::default()
            }
            ProviderEvent::Unheard { item, content_index } => {
                if let (Some(item), Some(live)) = (item, &mut self.live) {
                    live.take_unheard(transcription_hash(&item, content_index));
                }
                Reading::default()
            }
            ProviderEvent::Transcribed { item, content_index, usage } => {
                self.transcribed(item.as_deref(), content_index, usage, prices, now)
            }
            ProviderEvent::Searched { searches } => {
                if let Some(open) = self.open(None, false, prices, now) {
                    open.searches = open.searches.max(u32::try_from(searches).unwrap_or(u32::MAX));
                }
                Reading::default()
            }
            ProviderEvent::Plays { response, is_start } => self.played(response.as_deref(), is_start, now),
            ProviderEvent::Resumable { handle } => Reading { handle: Some(handle), ..Reading::default() },
            ProviderEvent::Joinable { call } => {
                Reading { call: Some(Box::from(&*call)), ..Reading::default() }
            }
        };
        self.reading(reading)
    }
}
