//! What the provider holds of a conversation, as far as it can be told from outside: what the next response reads.
//!
//! Start at [`Context::input`]. The figure that the provider stated last is the base; what came since is added, and
//! what was taken out is taken off. Where nobody can tell how much that was, the lower figure counts: the provider's
//! own follows with the next response. Invariant: whatever comes in whatever order, no sum falls below nothing, and no
//! more than [`ITEMS_MAX`] items are remembered.

use crate::dialect::{AudioRate, Content, Rates, TEXT_BYTES_PER_TOKEN};
use crate::usage::Usage;
use std::collections::VecDeque;
use std::ops::{AddAssign, SubAssign};

/// Items that can be told apart when one is deleted; an older one is taken for unknown.
pub(super) const ITEMS_MAX: usize = 128;

#[derive(Debug)]
pub(super) struct Context {
    rates: Rates,
    /// The input of the last response of the conversation, as it was stated, less what was taken out since.
    stated: Usage,
    is_stated: bool,
    /// What came after that response began.
    fresh: Amount,
    /// What the response under way reads beyond what was stated.
    under_way: Amount,
    items: VecDeque<Item>,
    /// Base64 in the input buffer.
    buffered_bytes: u64,
    /// When somebody was heard to speak, in milliseconds of sound, and when not any more.
    speech: Option<(u64, Option<u64>)>,
    /// The application wants what is buffered to be an item, and the provider has not said yet that it is.
    commit_asked: bool,
}

/// So much of a conversation. Sums of bytes and milliseconds, so that a thousand small parts do not round up a
/// thousand times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Amount {
    text_bytes: u64,
    sound_ms: u64,
    images: u64,
}

#[derive(Debug)]
struct Item {
    /// Of its id; `None` until the provider has named it.
    hash: Option<u64>,
    amount: Amount,
    part: Part,
}

/// Which sum an item is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Fresh,
    UnderWay,
    Stated,
    /// A response is still writing it, so it is in none.
    Answer,
}

impl Context {
    pub(super) fn new(rates: Rates) -> Context {
        Context {
            rates,
            stated: Usage::default(),
            is_stated: false,
            fresh: Amount::default(),
            under_way: Amount::default(),
            items: VecDeque::new(),
            buffered_bytes: 0,
            speech: None,
            commit_asked: false,
        }
    }

    /// What a response would read that began now. `settings_bytes` of instructions and tools are known beside it;
    /// what the provider states includes them.
    pub(super) fn input(&self, settings_bytes: u64) -> Usage {
        let mut more = self.fresh;
        more += self.under_way;
        if !self.is_stated {
            more.text_bytes = more.text_bytes.saturating_add(settings_bytes);
        }
        let more = more.usage(self.rates);
        Usage {
            text_in: self.stated.text_in.saturating_add(more.text_in),
            audio_in: self.stated.audio_in.saturating_add(more.audio_in),
            image_in: self.stated.image_in.saturating_add(more.image_in),
            ..self.stated
        }
    }

    /// What a response reads that is given this in the conversation's place.
    pub(super) fn input_of(rates: Rates, content: Content, rate: AudioRate, settings_bytes: u64) -> Usage {
        let mut amount = Amount::of(content, rate);
        amount.text_bytes = amount.text_bytes.saturating_add(settings_bytes);
        amount.usage(rates)
    }

    /// A response of the conversation begins, and reads all there is.
    pub(super) fn begin(&mut self, rate: AudioRate) {
        let sound_waits = self.rates.sound_is_read_as_it_comes && self.buffered_bytes > 0;
        if std::mem::take(&mut self.commit_asked) || sound_waits {
            self.commit(None, rate);
        }
        let fresh = std::mem::take(&mut self.fresh);
        self.under_way += fresh;
        self.shift(Part::Fresh, Part::UnderWay);
    }

    /// It is over. What it said is read by the next one; `usage` is what the provider states, if it does, and
    /// `output` the tokens of text and sound otherwise.
    pub(super) fn finish(&mut self, usage: Option<&Usage>, output: (u64, u64)) {
        let under_way = std::mem::take(&mut self.under_way);
        match usage {
            Some(usage) => {
                self.stated = Usage {
                    text_in: usage.text_in,
                    audio_in: usage.audio_in,
                    image_in: usage.image_in.saturating_add(usage.video_in),
                    cached_text_in: usage.cached_text_in,
                    cached_audio_in: usage.cached_audio_in,
                    cached_image_in: usage.cached_image_in,
                    ..Usage::default()
                };
                self.is_stated = true;
                self.shift(Part::UnderWay, Part::Stated);
            }
            None => {
                self.fresh += under_way;
                self.shift(Part::UnderWay, Part::Fresh);
            }
        }
        let output = usage
            .map_or(output, |usage| (usage.text_out.saturating_sub(usage.reasoning_out), usage.audio_out));
        let said = Amount {
            text_bytes: output.0.saturating_mul(TEXT_BYTES_PER_TOKEN),
            sound_ms: output.1.saturating_mul(self.rates.heard_ms_per_token),
            images: 0,
        };
        self.fresh += said;
        // Several items of one response cannot be told apart by their tokens; the first has most of them.
        let mut said = Some(said);
        for item in self.items.iter_mut().filter(|item| item.part == Part::Answer) {
            (item.part, item.amount) = (Part::Fresh, said.take().unwrap_or_default());
        }
    }

    /// The settings' text has changed its length: what was stated holds the former one.
    pub(super) fn set_settings(&mut self, before_bytes: u64, now_bytes: u64) {
        let less = before_bytes.saturating_sub(now_bytes);
        self.take_out(Part::Stated, Amount { text_bytes: less, ..Amount::default() });
    }

    /// So much base64 goes into the input buffer.
    pub(super) fn append(&mut self, bytes: u64) {
        self.buffered_bytes = self.buffered_bytes.saturating_add(bytes).min(BYTES_MAX);
    }

    pub(super) fn clear(&mut self) {
        (self.buffered_bytes, self.speech) = (0, None);
    }

    pub(super) fn ask_commit(&mut self) {
        self.commit_asked = true;
    }

    /// Somebody began to speak, or stopped. Silence is in the buffer as well, and is not billed.
    pub(super) fn hear_speech(&mut self, is_start: bool, at_ms: u64) {
        self.speech = match (is_start, self.speech) {
            (true, _) => Some((at_ms, None)),
            (false, Some((start_ms, _))) => Some((start_ms, Some(at_ms))),
            (false, None) => None,
        };
    }

    /// What is buffered is an item now; how many milliseconds of sound that is.
    pub(super) fn commit(&mut self, item: Option<u64>, rate: AudioRate) -> u64 {
        self.commit_asked = false;
        let speech_ms = self.speech.and_then(|(start, end)| Some(end?.saturating_sub(start)));
        let buffered_ms = rate.base64_ms(self.buffered_bytes);
        let sound_ms = speech_ms.map_or(buffered_ms, |speech_ms| speech_ms.min(buffered_ms));
        self.clear();
        self.put(item, Amount { sound_ms, ..Amount::default() });
        sound_ms
    }

    /// Sound that is in the buffer and would be written down if the session went on: of one that `detects_turns`,
    /// only what somebody has begun to say.
    pub(super) fn uncommitted_ms(&self, rate: AudioRate, detects_turns: bool) -> u64 {
        if detects_turns && self.speech.is_none() { 0 } else { rate.base64_ms(self.buffered_bytes) }
    }

    /// Takes what is in the buffer out of it, in pieces of so long: how long they are in all.
    pub(super) fn take_sound(&mut self, each_ms: u64, rate: AudioRate) -> u64 {
        let sound_ms = rate.base64_ms(self.buffered_bytes) / each_ms * each_ms;
        let bytes = sound_ms.saturating_mul(u64::from(rate.bytes_per_second)) / 750;
        self.buffered_bytes = self.buffered_bytes.saturating_sub(bytes);
        sound_ms
    }

    pub(super) fn add(&mut self, item: Option<u64>, content: Content, rate: AudioRate) {
        self.put(item, Amount::of(content, rate));
    }

    /// The provider tells an item's id. If it is new, it is that of the first which has none.
    pub(super) fn name(&mut self, hash: u64) {
        if self.find(hash).is_none()
            && let Some(item) = self.items.iter_mut().find(|item| item.hash.is_none())
        {
            item.hash = Some(hash);
        }
    }

    /// A response begins to write this item.
    pub(super) fn answer(&mut self, hash: u64) {
        if self.find(hash).is_none() {
            self.remember(Item { hash: Some(hash), amount: Amount::default(), part: Part::Answer });
        }
    }

    pub(super) fn delete(&mut self, hash: Option<u64>) {
        match hash.and_then(|hash| self.find(hash)).and_then(|index| self.items.remove(index)) {
            Some(item) => self.take_out(item.part, item.amount),
            // It may have been most of what was stated.
            None => self.stated = Usage::default(),
        }
    }

    /// Of an answer so many milliseconds of sound stay, and no text.
    pub(super) fn truncate(&mut self, hash: Option<u64>, sound_ms: u64) {
        let last_answer = || {
            let answers =
                self.items.iter().rposition(|item| item.amount.sound_ms > 0 && item.part == Part::Fresh);
            answers.filter(|_| hash.is_none_or(|hash| self.find(hash).is_none()))
        };
        let Some(index) = hash.and_then(|hash| self.find(hash)).or_else(last_answer) else { return };
        let item = &mut self.items[index];
        // What was said counts twice as much as what was heard of the same length.
        let kept_ms = item.amount.sound_ms.min(sound_ms.saturating_mul(self.rates.said_per_heard()));
        let kept = Amount { sound_ms: kept_ms, ..Amount::default() };
        let mut gone = std::mem::replace(&mut item.amount, kept);
        gone -= kept;
        let part = item.part;
        self.take_out(part, gone);
    }

    fn put(&mut self, hash: Option<u64>, amount: Amount) {
        self.fresh += amount;
        self.remember(Item { hash, amount, part: Part::Fresh });
    }

    fn remember(&mut self, item: Item) {
        if self.items.len() == ITEMS_MAX {
            self.items.pop_front();
        }
        self.items.push_back(item);
    }

    fn find(&self, hash: u64) -> Option<usize> {
        self.items.iter().position(|item| item.hash == Some(hash))
    }

    fn shift(&mut self, from: Part, to: Part) {
        self.items.iter_mut().filter(|item| item.part == from).for_each(|item| item.part = to);
    }

    fn take_out(&mut self, part: Part, amount: Amount) {
        match part {
            Part::Fresh => self.fresh -= amount,
            Part::UnderWay => self.under_way -= amount,
            Part::Stated => {
                let (stated, less) = (self.stated, amount.usage(self.rates));
                self.stated = Usage {
                    text_in: stated.text_in.saturating_sub(less.text_in),
                    audio_in: stated.audio_in.saturating_sub(less.audio_in),
                    image_in: stated.image_in.saturating_sub(less.image_in),
                    ..stated
                }
                .clamped();
            }
            Part::Answer => {}
        }
    }
}

impl Amount {
    fn of(content: Content, rate: AudioRate) -> Amount {
        let Content { text_bytes, sound_bytes, images } = content;
        Amount { text_bytes, sound_ms: rate.base64_ms(sound_bytes), images }
    }

    /// The tokens that it makes where it is read.
    fn usage(&self, rates: Rates) -> Usage {
        Usage {
            text_in: self.text_bytes.div_ceil(TEXT_BYTES_PER_TOKEN),
            audio_in: self.sound_ms.div_ceil(rates.heard_ms_per_token),
            image_in: self.images.saturating_mul(rates.image_tokens),
            ..Usage::default()
        }
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Amount) {
        self.text_bytes = self.text_bytes.saturating_add(other.text_bytes);
        self.sound_ms = self.sound_ms.saturating_add(other.sound_ms);
        self.images = self.images.saturating_add(other.images);
    }
}

impl SubAssign for Amount {
    fn sub_assign(&mut self, other: Amount) {
        self.text_bytes = self.text_bytes.saturating_sub(other.text_bytes);
        self.sound_ms = self.sound_ms.saturating_sub(other.sound_ms);
        self.images = self.images.saturating_sub(other.images);
    }
}

/// More than a petabyte is a length that somebody made up.
const BYTES_MAX: u64 = 1 << 50;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::{Dialect, OpenaiRealtime};
    use proptest::prelude::*;

    const RATE: AudioRate = AudioRate::PCM16_24KHZ;

    fn text(bytes: u64) -> Content {
        Content { text_bytes: bytes, ..Content::default() }
    }

    /// Text, sound and images in, then the cached parts.
    fn counts(context: &Context) -> [u64; 6] {
        let usage = context.input(0);
        [
            usage.text_in,
            usage.audio_in,
            usage.image_in,
            usage.cached_text_in,
            usage.cached_audio_in,
            usage.cached_image_in,
        ]
    }

    /// A conversation of which 1,000 tokens of text and 500 of sound were stated, most of them cached; 80 of text and
    /// 60 of sound were said since, as the item 7.
    fn stated() -> Context {
        let mut context = Context::new(OpenaiRealtime.rates());
        context.add(Some(1), text(400), RATE);
        context.begin(RATE);
        context.answer(7);
        context.finish(
            Some(&Usage {
                text_in: 1_000,
                audio_in: 500,
                cached_text_in: 900,
                cached_audio_in: 450,
                text_out: 100,
                reasoning_out: 20,
                audio_out: 60,
                ..Usage::default()
            }),
            (0, 0),
        );
        context
    }

    #[test]
    fn a_response_reads_what_was_stated_and_what_came_since() {
        let mut context = stated();
        assert_eq!(
            counts(&context),
            [1_080, 560, 0, 900, 450, 0],
            "the answer is read again, without its reasoning"
        );
        context.add(None, Content { text_bytes: 41, sound_bytes: 64_000, images: 2 }, RATE);
        assert_eq!(counts(&context), [1_091, 570, 170, 900, 450, 0]);
        // Two seconds of sound.
        context.append(128_000);
        assert_eq!(counts(&context), [1_091, 570, 170, 900, 450, 0], "what is not committed is not read");
        assert_eq!(context.commit(Some(9), RATE), 2_000);
        assert_eq!(counts(&context), [1_091, 590, 170, 900, 450, 0]);
        context.begin(RATE);
        assert_eq!(counts(&context), [1_091, 590, 170, 900, 450, 0]);
        context.add(None, text(400), RATE);
        context.finish(Some(&Usage { text_in: 10, ..Usage::default() }), (0, 0));
        assert_eq!(counts(&context), [110, 0, 0, 0, 0, 0], "what came meanwhile is still to be read");
    }

    #[test]
    fn without_a_figure_everything_that_was_sent_is_read_each_time() {
        let mut context = Context::new(OpenaiRealtime.rates());
        context.add(None, text(400), RATE);
        for turn in 1..4 {
            assert_eq!(context.input(40).text_in, 10 + 100 * turn);
            context.begin(RATE);
            context.finish(None, (100, 0));
        }
    }

    #[test]
    fn silence_is_not_counted_where_the_provider_tells_speech() {
        let mut context = Context::new(OpenaiRealtime.rates());
        context.append(64_000 * 60);
        context.hear_speech(true, 50_000);
        context.hear_speech(false, 53_000);
        assert_eq!(context.commit(None, RATE), 3_000);
        context.append(64_000);
        assert_eq!((context.uncommitted_ms(RATE, false), context.uncommitted_ms(RATE, true)), (1_000, 0));
        context.hear_speech(true, 60_000);
        assert_eq!(context.uncommitted_ms(RATE, true), 1_000);
        context.clear();
        assert_eq!(context.uncommitted_ms(RATE, false), 0);
    }

    #[test]
    fn a_commit_that_no_provider_confirms_holds_when_the_response_begins() {
        let mut context = Context::new(OpenaiRealtime.rates());
        context.append(64_000);
        context.ask_commit();
        context.begin(RATE);
        assert_eq!(counts(&context), [0, 10, 0, 0, 0, 0]);
    }

    #[test]
    fn what_is_taken_out_lowers_the_figure() {
        type Edit = fn(&mut Context);
        for (edit, left) in [
            ((|context| context.delete(Some(1))) as Edit, [980, 560, 0, 900, 450, 0]),
            (|context| context.delete(Some(7)), [1_000, 500, 0, 900, 450, 0]),
            (|context| context.truncate(Some(7), 1_000), [1_000, 520, 0, 900, 450, 0]),
            (|context| context.truncate(Some(7), 60_000), [1_000, 560, 0, 900, 450, 0]),
            (|context| context.truncate(None, 0), [1_000, 500, 0, 900, 450, 0]),
            (|context| context.set_settings(2_000, 400), [680, 560, 0, 600, 450, 0]),
            (|context| context.set_settings(400, 2_000), [1_080, 560, 0, 900, 450, 0]),
            (|context| context.delete(Some(99)), [80, 60, 0, 0, 0, 0]),
            (|context| context.delete(None), [80, 60, 0, 0, 0, 0]),
        ] {
            let mut context = stated();
            edit(&mut context);
            assert_eq!(counts(&context), left);
        }
    }

    #[test]
    fn an_item_is_known_by_the_id_that_the_provider_gives_it() {
        let mut context = stated();
        context.add(None, text(4_000), RATE);
        context.name(33);
        context.name(33);
        context.delete(Some(33));
        assert_eq!(counts(&context), [1_080, 560, 0, 900, 450, 0]);
    }

    proptest! {
        #[test]
        fn whatever_is_edited_the_figure_is_whole_and_memory_bounded(
            steps in prop::collection::vec((0..11, 0u64..20, 0u64..100_000), 0..400),
        ) {
            let mut context = Context::new(OpenaiRealtime.rates());
            for (what, id, count) in steps {
                match what {
                    0 => context.add(Some(id), text(count), RATE),
                    1 => context.append(count),
                    2 => drop(context.commit(Some(id), RATE)),
                    3 => context.begin(RATE),
                    4 => context.finish(None, (count, id)),
                    5 => context.finish(Some(&Usage {
                        text_in: count, audio_in: id, cached_text_in: count / 2, text_out: id, ..Usage::default()
                    }), (0, 0)),
                    6 => context.delete(Some(id)),
                    7 => context.truncate(Some(id), count),
                    8 => context.answer(id),
                    9 => context.name(id),
                    _ => context.set_settings(count, id),
                }
                let input = context.input(id);
                prop_assert_eq!(input, input.clamped());
                prop_assert!(context.items.len() <= ITEMS_MAX);
            }
        }
    }
}
