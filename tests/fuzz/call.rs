//! Arbitrary descriptions and datagrams of calls: nothing may panic, what is read keeps to all bounds, and an answer has the offer's
//! lines in the offer's order.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tokenist_core::signalling::datagram::Datagram;
use tokenist_core::signalling::description::{CANDIDATES_MAX, Description, LINES_MAX};

/// The kinds of its lines of media.
fn kinds(text: &str) -> Vec<&str> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("m="));
    lines.map(|line| line.trim_end().split(' ').next().unwrap_or_default()).collect()
}

fuzz_target!(|bytes: &[u8]| {
    if let Datagram::Check { ufrag } = Datagram::of(bytes) {
        assert!(
            bytes.windows(ufrag.len().max(1)).any(|window| window == ufrag.as_bytes()) || ufrag.is_empty()
        );
    }
    let Ok(offer) = Description::read(bytes) else { return };
    assert!(offer.candidates().count() <= CANDIDATES_MAX);
    assert!(offer.codecs().len() <= 3 && offer.has_audio() == !offer.codecs().is_empty());
    let offered = std::str::from_utf8(bytes).expect("it was read");
    for has_no_sound in [false, true] {
        let shown = offer.only(has_no_sound);
        assert!(kinds(&shown).len() <= 2 && !shown.lines().any(|line| line.starts_with("a=candidate:")));
        let answer = offer.answer(&shown, has_no_sound).expect("each line that was shown is answered");
        assert!(kinds(&answer).len() <= LINES_MAX);
        assert_eq!(kinds(&answer), kinds(offered));
    }
    let shown = Description::read(offer.only(false).as_bytes()).expect("what is shown can be read");
    assert_eq!((shown.codecs(), shown.has_data()), (offer.codecs(), offer.has_data()));
});
