//! The answer to an offer of a call: one line of sound and one of data are taken, all else is refused in its place.
//!
//! An answer has as many lines as the offer, in its order (RFC 3264, 6), and a line that is not wanted has port 0. str0m leaves
//! out lines of kinds that it does not know, and takes up some that were offered as refused; so it is shown only those lines that
//! are taken, and the others are put in here.

use crate::peer::Peer;
use str0m::change::SdpOffer;

/// More lines than any client has.
const LINES_MAX: usize = 64;
/// Who does not say how long a message may be takes so much (RFC 8841, 6.1).
const MESSAGE_BYTES_UNSAID: usize = 64 << 10;

/// # Errors
/// What is wrong with the offer.
pub(super) fn to(peer: &Peer, offer: &str) -> Result<String, String> {
    let offer = Description::of(offer);
    if offer.lines.is_empty() || offer.lines.len() > LINES_MAX {
        return Err(format!("The offer has {} lines of media, of 1 to {LINES_MAX}.", offer.lines.len()));
    }
    let taken = offer.taken();
    let shown = SdpOffer::from_sdp_string(&offer.only(&taken)).map_err(|error| error.to_string())?;
    let answer = peer.with(|rtc| rtc.sdp_api().accept_offer(shown)).map_err(|error| error.to_string())?;
    let answer = answer.to_sdp_string();
    let mut answers = Description::of(&answer);
    let mut answered = std::mem::take(&mut answers.lines).into_iter();
    for (line, is_taken) in offer.lines.iter().zip(taken) {
        match is_taken {
            true => answers.lines.push(answered.next().ok_or("A line of the offer was not answered.")?),
            false => answers.lines.push(line.refused()),
        }
    }
    Ok(answers.text())
}

/// How long a message may be that who makes this offer takes.
pub(super) fn message_bytes_max(offer: &str) -> usize {
    let offer = Description::of(offer);
    let taken = offer.taken();
    let of_data = |(line, is_taken): &(&Line, bool)| *is_taken && line.word(0) == "application";
    let data = offer.lines.iter().zip(taken).find(of_data);
    let said = data.and_then(|(line, _)| line.attribute("max-message-size:")?.trim().parse().ok());
    match said {
        None => MESSAGE_BYTES_UNSAID,
        Some(0) => usize::MAX,
        Some(bytes) => bytes,
    }
}

/// A session description in parts, each of whole lines of text without their ends.
struct Description {
    session: Vec<String>,
    lines: Vec<Line>,
}

/// A line of media, `m=`, with all that belongs to it.
struct Line(Vec<String>);

impl Description {
    fn of(text: &str) -> Description {
        let (mut session, mut lines) = (Vec::new(), Vec::<Line>::new());
        for line in text.lines().filter(|line| !line.is_empty()) {
            match (line.starts_with("m="), lines.last_mut()) {
                (true, _) => lines.push(Line(vec![line.to_owned()])),
                (false, Some(last)) => last.0.push(line.to_owned()),
                (false, None) => session.push(line.to_owned()),
            }
        }
        Description { session, lines }
    }

    /// The first lines of sound and of data that are not offered as refused.
    fn taken(&self) -> Vec<bool> {
        let bundled = self.session.iter().find_map(|line| line.strip_prefix("a=group:BUNDLE "));
        let is_bundled = |line: &Line| {
            bundled.is_some_and(|bundled| bundled.split(' ').any(|mid| Some(mid) == line.mid()))
        };
        let mut kinds = vec!["audio", "application"];
        let mut take = |line: &Line| {
            let is_offered = line.word(1) != "0" || is_bundled(line);
            let kind = kinds.iter().position(|kind| *kind == line.word(0)).filter(|_| is_offered);
            kind.map(|kind| kinds.remove(kind)).is_some()
        };
        self.lines.iter().map(&mut take).collect()
    }

    /// The description as if no other lines had been offered.
    fn only(&self, taken: &[bool]) -> String {
        let lines = || self.lines.iter().zip(taken).filter(|(_, is_taken)| **is_taken).map(|(line, _)| line);
        let mids: Vec<&str> = lines().filter_map(Line::mid).collect();
        let session = self.session.iter().map(|line| match line.strip_prefix("a=group:BUNDLE ") {
            Some(bundled) => {
                let kept: Vec<&str> = bundled.split(' ').filter(|mid| mids.contains(mid)).collect();
                format!("a=group:BUNDLE {}", kept.join(" "))
            }
            None => line.clone(),
        });
        joined(session.chain(lines().flat_map(|line| line.0.iter().cloned())))
    }

    fn text(&self) -> String {
        joined(self.session.iter().chain(self.lines.iter().flat_map(|line| &line.0)).cloned())
    }
}

fn joined(lines: impl Iterator<Item = String>) -> String {
    lines.map(|line| line + "\r\n").collect()
}

impl Line {
    /// Of `m=audio 9 UDP/TLS/RTP/SAVPF 111`, by place: kind, port, protocol.
    fn word(&self, place: usize) -> &str {
        self.0[0].trim_start_matches("m=").split(' ').nth(place).unwrap_or_default()
    }

    fn mid(&self) -> Option<&str> {
        self.attribute("mid:")
    }

    /// What stands behind `name` in the first `a=` that begins with it.
    fn attribute(&self, name: &str) -> Option<&str> {
        self.0.iter().find_map(|line| line.strip_prefix("a=")?.strip_prefix(name))
    }

    /// What says no to it: the same kind, protocol and formats at port 0.
    fn refused(&self) -> Line {
        let formats = self.0[0].splitn(4, ' ').nth(3).unwrap_or("0");
        let media = format!("m={} 0 {} {formats}", self.word(0), self.word(2));
        let mid = self.mid().map(|mid| format!("a=mid:{mid}"));
        let text = [media, "c=IN IP4 0.0.0.0".to_owned(), "a=inactive".to_owned()];
        Line(text.into_iter().chain(mid).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = "a=mid:MID\r\na=sendrecv\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n";
    const DATA: &str = "a=mid:MID\r\na=sctp-port:5000\r\na=max-message-size:262144\r\n";

    /// An offer with these lines of media, of which `mids` are in one bundle.
    fn offer(lines: &[(&str, &str)], mids: &str) -> String {
        let mut offer = format!(
            "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {mids}\r\na=ice-ufrag:abcd\r\n\
             a=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=fingerprint:sha-256 {}\r\na=setup:actpass\r\n",
            ["AB"; 32].join(":")
        );
        for (mid, (media, attributes)) in lines.iter().enumerate() {
            let attributes = attributes.replace("MID", &mid.to_string());
            offer.push_str(&format!("m={media}\r\nc=IN IP4 0.0.0.0\r\n{attributes}"));
        }
        offer
    }

    fn answered(offer: &str) -> Result<String, String> {
        crate::runtime::block_on(async {
            let host = std::net::Ipv4Addr::LOCALHOST.into();
            let peer = Peer::bind(Peer::config().set_ice_lite(true), host).unwrap();
            to(&peer, offer)
        })
    }

    #[test]
    fn an_answer_has_the_lines_of_the_offer_and_refuses_what_it_does_not_take() {
        let sound = ("audio 9 UDP/TLS/RTP/SAVPF 111 0 8", SOUND);
        let refused = ("audio 0 UDP/TLS/RTP/SAVPF 111", SOUND);
        let data = ("application 9 UDP/DTLS/SCTP webrtc-datachannel", DATA);
        let unknown = ("text 9 UDP/TLS/RTP/SAVPF 98", "a=mid:MID\r\na=rtpmap:98 t140/1000\r\n");
        let video = ("video 9 UDP/TLS/RTP/SAVPF 96", "a=mid:MID\r\na=rtpmap:96 VP8/90000\r\na=rtcp-mux\r\n");
        for (lines, mids, taken) in [
            (vec![sound, data], "0 1", vec!["audio 9", "application 9"]),
            (vec![data, sound], "0 1", vec!["application 9", "audio 9"]),
            (vec![unknown, sound, data], "0 1 2", vec!["text 0", "audio 9", "application 9"]),
            (vec![sound, unknown, data], "0 1 2", vec!["audio 9", "text 0", "application 9"]),
            (vec![refused, sound, data], "1 2", vec!["audio 0", "audio 9", "application 9"]),
            (
                vec![sound, sound, video, data],
                "0 1 2 3",
                vec!["audio 9", "audio 0", "video 0", "application 9"],
            ),
            (vec![data], "0", vec!["application 9"]),
        ] {
            let answer = answered(&offer(&lines, mids)).unwrap();
            let media: Vec<&str> = answer.lines().filter_map(|line| line.strip_prefix("m=")).collect();
            assert_eq!(media.len(), taken.len(), "{answer}");
            for (index, (media, taken)) in media.iter().zip(&taken).enumerate() {
                assert!(media.starts_with(taken), "{index}: {media} is no {taken}");
                assert!(media.split(' ').count() > 3, "{media} has no format");
            }
            let mids: Vec<String> = (0..lines.len())
                .filter(|&mid| !taken[mid].ends_with(" 0"))
                .map(|mid| mid.to_string())
                .collect();
            assert!(answer.contains(&format!("a=group:BUNDLE {}\r\n", mids.join(" "))), "{answer}");
            assert_eq!(answer.matches("a=candidate:").count(), 1, "{answer}");
            assert!(answer.contains("a=ice-lite") && answer.contains("a=setup:passive"), "{answer}");
        }
    }

    #[test]
    fn sound_is_taken_in_each_codec_that_is_offered_and_known() {
        for (formats, expected) in [("111 0 8", "111 0 8"), ("0", "0"), ("9 8 13", "8")] {
            let media = format!("audio 9 UDP/TLS/RTP/SAVPF {formats}");
            let attributes =
                if formats.contains("111") { SOUND } else { "a=mid:MID\r\na=sendrecv\r\na=rtcp-mux\r\n" };
            let answer = answered(&offer(&[(&media, attributes)], "0")).unwrap();
            let line = answer.lines().find(|line| line.starts_with("m=audio")).unwrap();
            assert_eq!(line, format!("m=audio 9 UDP/TLS/RTP/SAVPF {expected}"), "{answer}");
        }
    }

    #[test]
    fn the_offer_says_how_long_a_message_may_be() {
        let sound = ("audio 9 UDP/TLS/RTP/SAVPF 111", SOUND);
        let refused =
            ("application 0 UDP/DTLS/SCTP webrtc-datachannel", "a=mid:MID\r\na=max-message-size:9\r\n");
        for (attributes, expected) in [
            (DATA, 262_144),
            ("a=mid:MID\r\na=max-message-size:65536\r\n", 65_536),
            ("a=mid:MID\r\na=max-message-size:0\r\n", usize::MAX),
            ("a=mid:MID\r\n", 65_536),
        ] {
            let data = ("application 9 UDP/DTLS/SCTP webrtc-datachannel", attributes);
            assert_eq!(message_bytes_max(&offer(&[refused, sound, data], "1 2")), expected, "{attributes}");
        }
        assert_eq!(message_bytes_max(&offer(&[sound], "0")), 65_536);
    }

    #[test]
    fn an_offer_that_is_none_is_refused() {
        let line = ("audio 9 UDP/TLS/RTP/SAVPF 111", SOUND);
        for offer in ["", "v=0\r\n", "m=\r\n", &offer(&[line; 65], "0"), &offer(&[("audio", "")], "0")] {
            assert!(answered(offer).is_err(), "{offer}");
        }
    }
}
