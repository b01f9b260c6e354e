use super::*;
use proptest::prelude::*;

const TRANSPORT: &str =
    "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\na=fingerprint:sha-256 AA\r\na=setup:actpass\r\n";
const SOUND: &str =
    "a=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10\r\na=rtpmap:0 PCMU/8000\r\n";
const DATA: &str = "a=sctp-port:5000\r\na=max-message-size:65536\r\n";

/// A description with these lines of media, each with a name, of which `mids` are in one bundle.
fn description(lines: &[(&str, &str)], mids: &str) -> String {
    let mut text = format!("v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {mids}\r\n");
    for (mid, (media, attributes)) in lines.iter().enumerate() {
        text += &format!("m={media}\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\n{TRANSPORT}{attributes}");
    }
    text
}

const AUDIO: (&str, &str) = ("audio 9 UDP/TLS/RTP/SAVPF 9 111 0", SOUND);
const CHANNEL: (&str, &str) = ("application 9 UDP/DTLS/SCTP webrtc-datachannel", DATA);
const VIDEO: (&str, &str) = ("video 9 UDP/TLS/RTP/SAVPF 96 97", "a=rtpmap:96 VP8/90000\r\n");
const TEXT: (&str, &str) = ("text 9 UDP/TLS/RTP/SAVPF 98", "");

fn read(text: &str) -> Result<Description, String> {
    Description::read(text.as_bytes()).map_err(|wrong| wrong.to_string())
}

/// The first lines of media, without their attributes.
fn media(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with("m=")).collect()
}

#[test]
fn a_line_that_another_reader_would_take_for_two_is_refused() {
    let text = description(&[AUDIO], "0");
    assert!(read(&text).is_ok());
    let told = read(&text.replace("s=-", "s=-\rm=video 9")).unwrap_err();
    assert!(told.contains("control character"), "{told}");
}

#[test]
fn of_an_offer_one_line_of_sound_and_one_of_data_are_taken() {
    for (lines, mids, wanted) in [
        (vec![AUDIO, CHANNEL], "0 1", vec!["m=audio 9", "m=application 9"]),
        (vec![CHANNEL, AUDIO], "0 1", vec!["m=application 9", "m=audio 9"]),
        (vec![VIDEO, AUDIO, TEXT, CHANNEL, AUDIO], "0 1 2 3 4", vec!["m=audio 9", "m=application 9"]),
        (vec![CHANNEL], "0", vec!["m=application 9"]),
        (vec![AUDIO], "", vec!["m=audio 9"]),
        // Not of one bundle.
        (vec![AUDIO, CHANNEL], "0", vec!["m=audio 9"]),
        // Refused, unless it is of a bundle.
        (vec![("audio 0 UDP/TLS/RTP/SAVPF 111", SOUND), CHANNEL], "1", vec!["m=application 9"]),
        (
            vec![("audio 9 UDP/TLS/RTP/SAVPF 111", SOUND), ("application 0 UDP/DTLS/SCTP x", DATA)],
            "0 1",
            vec!["m=audio 9", "m=application 9"],
        ),
    ] {
        let offer = description(&lines, mids);
        let shown = read(&offer).unwrap().only(false);
        let kinds: Vec<String> =
            media(&shown).iter().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(kinds, wanted, "{offer}");
    }
}

#[test]
fn what_a_description_says_of_sound_and_messages_is_read() {
    let offer = read(&description(&[AUDIO, CHANNEL], "0 1")).unwrap();
    assert_eq!(offer.codecs(), [Codec::Opus, Codec::Pcmu]);
    assert_eq!((offer.message_bytes_max(), offer.direction()), (65_536, Direction::Both));
    assert_eq!((offer.audio_mid(), offer.is_ice_lite()), (Some("0"), false));
    let plain = ("audio 9 RTP/SAVPF 8 0 13", "a=recvonly\r\n");
    let offer = read(&(description(&[plain], "") + "a=ice-lite\r\n")).unwrap();
    assert_eq!((offer.codecs(), offer.direction()), (vec![Codec::Pcma, Codec::Pcmu], Direction::Receives));
    assert_eq!((offer.message_bytes_max(), offer.has_data()), (MESSAGE_BYTES_UNSTATED, false));
    let any = ("application 9 UDP/DTLS/SCTP x", "a=max-message-size:0\r\n");
    assert_eq!(read(&description(&[any], "0")).unwrap().message_bytes_max(), u64::MAX);
}

#[test]
fn no_candidate_is_shown_to_whoever_answers() {
    let candidate = "a=candidate:1 1 udp 2130706431 0f1e.local 9 typ host\r\na=end-of-candidates\r\n";
    let line = (AUDIO.0, &*format!("{SOUND}{candidate}"));
    let offer = read(&description(&[line], "0")).unwrap();
    assert_eq!(
        offer.candidates().collect::<Vec<_>>(),
        ["candidate:1 1 udp 2130706431 0f1e.local 9 typ host"]
    );
    for text in [offer.only(false), offer.plain()] {
        assert!(!text.contains("candidate") && text.contains("a=fmtp:111"), "{text}");
    }
}

#[test]
fn what_goes_beyond_a_bound_or_cannot_be_served_is_told() {
    let usual = description(&[AUDIO], "0");
    let many = description(&vec![AUDIO; 33], "0");
    let crowd = usual.clone() + &"a=candidate:1 1 udp 1 1.1.1.1 1 typ host\r\n".repeat(257);
    let wide = format!("{usual}a=x:{}\r\n", "x".repeat(TEXT_BYTES_MAX));
    for (offer, wanted) in [
        (many, "it has 33 lines of media, more than 32"),
        (crowd, "it has 257 candidates, more than 256"),
        (wide, "a line of it has more than 4096 bytes"),
        (description(&[VIDEO], "0"), "it has neither a line of sound"),
        (description(&[("audio 9 UDP/TLS/RTP/SAVPF 9", SOUND)], "0"), "it has neither a line of sound"),
        ("v=0\r\n".to_owned(), "it has neither a line of sound"),
        (description(&[("audio 0 UDP/TLS/RTP/SAVPF 0", SOUND)], ""), "it has neither a line of sound"),
        (usual.replace("a=fingerprint", "a=x"), "it has no a=fingerprint"),
        (usual.replace("a=ice-pwd", "a=x"), "it has no a=ice-pwd"),
        (usual.replace("ufrag:abcd", "ufrag:abc"), "it has no a=ice-ufrag"),
        (description(&[VIDEO, AUDIO], "").replace("a=mid", "a=x"), "its lines of media have no a=mid"),
        (
            description(&[AUDIO, AUDIO], "").replace("a=mid:1", "a=mid:0"),
            "two of its lines of media have the same a=mid",
        ),
        (
            format!("{usual}a=setup:holdconn\r\n").replace("a=setup:actpass", "a=x"),
            "its a=setup is none of actpass, active and passive",
        ),
    ] {
        let said = read(&offer).unwrap_err();
        assert!(said.starts_with(wanted), "{said}: {offer}");
    }
    assert_eq!(Description::read(b"v=0\xff").unwrap_err().to_string(), "it is no text");
}

#[test]
fn an_answer_has_as_many_lines_as_were_offered_in_their_order() {
    let offer = read(&description(&[VIDEO, AUDIO, TEXT, CHANNEL], "0 1 2 3")).unwrap();
    let answer = description(&[AUDIO, CHANNEL], "1 3");
    let whole = offer.answer(&answer, false).unwrap();
    assert_eq!(
        media(&whole),
        [
            "m=video 0 UDP/TLS/RTP/SAVPF 96 97",
            "m=audio 9 UDP/TLS/RTP/SAVPF 9 111 0",
            "m=text 0 UDP/TLS/RTP/SAVPF 98",
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel"
        ]
    );
    assert!(whole.contains("a=group:BUNDLE 1 3\r\n"), "{whole}");
    // Whoever is asked in turn takes no sound.
    let silent = offer.answer(&description(&[CHANNEL], "3"), true).unwrap();
    assert_eq!(media(&silent)[1], "m=audio 0 UDP/TLS/RTP/SAVPF 9 111 0");
    assert_eq!(media(&offer.only(true)), ["m=application 9 UDP/DTLS/SCTP webrtc-datachannel"]);
    assert_eq!(offer.answer(&description(&[AUDIO], "1"), false), None);
}

#[test]
fn an_answer_bundles_only_what_was_offered_in_a_bundle() {
    for (offered, answered, wanted) in [
        (None, "0", None),
        (Some("1"), "0", None),
        (Some("0 1"), "0", Some("0")),
        (Some("1 0"), "0 1", Some("0 1")),
    ] {
        let offer = description(&[AUDIO, CHANNEL], offered.unwrap_or_default());
        let offer = match offered {
            Some(_) => offer,
            None => offer.replace("a=group:BUNDLE \r\n", ""),
        };
        let offer = read(&offer).unwrap();
        let lines = if offer.has_data() && offer.has_audio() { vec![AUDIO, CHANNEL] } else { vec![AUDIO] };
        let answer = offer.answer(&description(&lines, answered), false).unwrap();
        let group = answer.lines().find_map(|line| line.strip_prefix("a=group:BUNDLE "));
        assert_eq!(group, wanted, "{offered:?}: {answer}");
    }
}

proptest! {
    /// Whatever is offered in whatever order, the answer has the offer's kinds in the offer's order, and takes at most one line of
    /// each kind that is served.
    #[test]
    fn answers_mirror_offers(
        kinds in prop::collection::vec(0_usize..5, 0..40), refused in any::<u64>(), in_bundle in any::<u64>(),
    ) {
        let known = [AUDIO, CHANNEL, VIDEO, TEXT, ("message 9 TCP/MSRP *", "")];
        let is = |bits: u64, at: usize| bits >> (at % 64) & 1 == 1;
        let ported: Vec<(String, &str)> = kinds
            .iter()
            .enumerate()
            .map(|(at, kind)| {
                let (media, rest) = known[*kind];
                (if is(refused, at) { media.replacen(" 9 ", " 0 ", 1) } else { media.to_owned() }, rest)
            })
            .collect();
        let lines: Vec<(&str, &str)> = ported.iter().map(|(media, rest)| (&**media, *rest)).collect();
        let mids: Vec<String> =
            (0..lines.len()).filter(|at| is(in_bundle, *at)).map(|at| at.to_string()).collect();
        let text = description(&lines, &mids.join(" "));
        let Ok(offer) = read(&text) else { return Ok(()) };
        let shown = offer.only(false);
        let answer = offer.answer(&shown, false).expect("each line that was shown is answered");
        let kind_of = |line: &&str| line.split(' ').next().unwrap_or_default().to_owned();
        let offered: Vec<String> = media(&text).iter().map(kind_of).collect();
        prop_assert_eq!(media(&answer).iter().map(kind_of).collect::<Vec<_>>(), offered);
        let taken: Vec<String> =
            media(&answer).into_iter().filter(|line| !line.contains(" 0 ")).map(|line| kind_of(&line)).collect();
        prop_assert!(taken.len() <= 2 && (taken.len() < 2 || taken[0] != taken[1]), "{:?}", taken);
    }

    #[test]
    fn whatever_is_read_is_read_or_refused(text in "(v=0\r\n)?([a-z]=[ -~]{0,30}\r\n){0,20}") {
        if let Ok(description) = Description::read(text.as_bytes()) {
            let again = Description::read(description.only(false).as_bytes());
            prop_assert!(again.is_ok(), "{:?}", again);
        }
    }
}
