//! What the application says: what it asks for, and what it adds to what is read.

use super::open::{Asked, item_hash};
use super::{AWAITED_MAX, Basis, Charge, Chosen, ClientPeeked, Context, Meter, Reading, named};
use crate::dialect::{ClientEvent, ClientPeek};
use crate::doubt::Keys;
use crate::price::PriceTable;
use crate::terms::Terms;
use crate::time::Now;

impl Meter {
    /// Looks at the first bytes of an event of the application, as [`Meter::peek`] does at the provider's.
    #[inline]
    pub fn peek_client(&mut self, head: &[u8], event_bytes: u64) -> ClientPeeked {
        let Some(dialect) = self.speaks.dialect() else { return ClientPeeked::Pass };
        match dialect.peek_client(head, event_bytes) {
            ClientPeek::Nothing => ClientPeeked::Pass,
            ClientPeek::Whole => ClientPeeked::Collect,
            ClientPeek::Sound { bytes } => {
                self.context().append(bytes);
                ClientPeeked::Length
            }
        }
    }

    /// More of the event of the application that was peeked at last, if its length was not known then.
    pub fn grow_client(&mut self, bytes: u64) {
        self.context().append(bytes);
    }

    /// By what the application's events are judged; see [`Keys::check`].
    pub fn deciding(&self) -> Keys {
        self.speaks.dialect().map(|dialect| dialect.deciding()).unwrap_or_default()
    }

    /// By what events are judged that begin as sound.
    pub fn deciding_behind_sound(&self) -> Keys {
        let dialect =
            self.speaks.dialect().filter(|dialect| dialect.looks_behind_sound() || self.writes_all());
        dialect.map(|dialect| dialect.deciding()).unwrap_or_default()
    }

    /// An event that begins as sound has come, which may be cut short here. Whether it is sound and nothing else.
    pub fn hear_behind_sound(&mut self, event: &[u8]) -> bool {
        self.note_form(event);
        self.speaks.dialect().is_none_or(|dialect| dialect.is_sound_alone(event))
    }

    /// Where nobody states how long sound is, and it says to be slower than it was taken for, it is.
    fn note_form(&mut self, event: &[u8]) {
        let dialect = self.speaks.dialect().filter(|_| self.writes_all());
        if let Some(form) = dialect.and_then(|dialect| dialect.sound_form(event))
            && form.bytes_per_second < self.input_rate.bytes_per_second
        {
            self.set_input_rate(form);
        }
    }

    /// Whether what the application says in binary is sound, to be told to [`Meter::hear`] by its length alone.
    pub fn hears_binary(&self) -> bool {
        self.speaks.dialect().is_some_and(|dialect| dialect.hears_binary())
    }

    /// So much sound of the application, as it is and not in base64.
    pub fn hear(&mut self, bytes: u64) {
        self.heard_bytes = self.heard_bytes.saturating_add(bytes);
    }

    /// An event of the application that was asked for, or its beginning; `event_bytes` is how long all of it is. Tells which
    /// model it has the provider use from now on.
    pub fn read_client(&mut self, event: &[u8], event_bytes: u64, prices: &PriceTable, now: Now) -> Chosen {
        let mut chosen = Chosen::Nothing;
        let Some(dialect) = self.speaks.dialect() else { return chosen };
        dialect.read_client(event, event_bytes, &mut |event| {
            if let ClientEvent::Setup(settings) = &event {
                let named = settings.model.clone().and_then(named).map_or(Chosen::Unseen, Chosen::Model);
                chosen = match std::mem::replace(&mut chosen, Chosen::Nothing) {
                    Chosen::Nothing => named,
                    before if before == named => before,
                    _ => Chosen::Several,
                };
            }
            self.apply_client(event, prices, now);
        });
        self.note_form(event);
        chosen
    }

    fn apply_client(&mut self, event: ClientEvent<'_>, prices: &PriceTable, now: Now) {
        let rate = self.input_rate;
        match event {
            ClientEvent::Nothing | ClientEvent::Attach { .. } => {}
            ClientEvent::Sound { bytes } => self.context().append(bytes),
            ClientEvent::ClearSound => self.context().clear(),
            ClientEvent::CommitSound => self.context().ask_commit(),
            ClientEvent::AddItem { item, content } => {
                let item = item.as_deref().map(item_hash);
                self.context().add(item, content, rate);
            }
            ClientEvent::DeleteItem { item } => self.context().delete(item.as_deref().map(item_hash)),
            ClientEvent::TruncateItem { item, sound_ms } => {
                self.context().truncate(item.as_deref().map(item_hash), sound_ms);
            }
            ClientEvent::Respond { apart, input } => {
                let settings_bytes = self.settings_bytes;
                let input = input
                    .map(|content| Context::input_of(self.speaks.rates(), content, rate, settings_bytes));
                let asked = &mut self.live.get_or_insert_default().asked;
                if asked.len() < AWAITED_MAX {
                    asked.push_back(Asked { apart, input });
                }
            }
            ClientEvent::Choose { model, transcription_model } => {
                if !self.model_is_stated {
                    self.set_model(model.and_then(named), prices, now);
                }
                let transcription = self.models.transcription.take();
                self.models.transcription = transcription.or_else(|| transcription_model.and_then(named));
            }
            ClientEvent::Setup(mut settings) => {
                self.model_is_named = false;
                settings.input_rate = settings.input_rate.map(|rate| self.asked_rate(rate));
                self.take_settings(*settings, prices, now);
            }
            ClientEvent::Resume { .. } => {}
            ClientEvent::Billed { usage, is_estimate } => {
                let (model, price) = self.priced(None, prices, now);
                let basis = if is_estimate { Basis::Estimated } else { Basis::Stated };
                let metered = self.book(model, &price, usage, &Terms::default(), basis);
                let charge = Charge::of(metered.cost, &metered.usage);
                let billed = Reading { charge, booked: vec![metered], ..Reading::default() };
                self.live.get_or_insert_default().overdue.absorb(billed);
                // So that it is asked for at once.
                self.running.get_or_insert_default();
            }
        }
    }
}
