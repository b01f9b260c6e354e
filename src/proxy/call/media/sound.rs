//! The way of sound from one leg to the other: packet by packet, with what numbers and times the next leg has.
//!
//! Start at [`Track::pass`]. Invariant: what was lost or came out of order is so behind us as well, and what is sent to a peer is
//! one stream, whatever sources it comes from.

use std::time::Instant;
use str0m::format::Codec;
use str0m::media::Pt;
use str0m::rtp::{ExtensionValues, RtpPacket, RtpWrite, Ssrc};

/// One way.
#[derive(Default)]
pub(super) struct Track {
    /// Of each codec that both legs know: its number where it comes, where it goes, and its ticks in a second.
    formats: Vec<(Pt, Pt, u32)>,
    run: Option<Run>,
}

/// Packets of one source.
struct Run {
    source: Ssrc,
    /// What is added to a number and to a time.
    number: i128,
    time: u32,
    /// The furthest that was sent, its time, and when.
    last: (u64, u32, Instant),
}

/// A stream's first number: the counter behind it has to begin at 0, and what came before it may come after it.
const FIRST: u64 = 1 << 10;

impl Track {
    pub(super) fn between(from: &[(Codec, Pt, u32)], to: &[(Codec, Pt, u32)]) -> Track {
        let pair = |(codec, number, clock): &(Codec, Pt, u32)| {
            let other = to.iter().find(|(other, ..)| other == codec)?;
            Some((*number, other.1, *clock))
        };
        Track { formats: from.iter().filter_map(pair).collect(), run: None }
    }

    /// The packet as it goes on; `None`: it does not.
    pub(super) fn pass(&mut self, packet: RtpPacket, now: Instant) -> Option<RtpWrite> {
        let header = &packet.header;
        let (_, format, clock) = *self.formats.iter().find(|(number, ..)| *number == header.payload_type)?;
        if self.run.as_ref().is_none_or(|run| run.source != header.ssrc) {
            self.run = Some(Run::behind(self.run.take(), &packet, clock, now));
        }
        let run = self.run.as_mut()?;
        let number = u64::try_from(i128::from(*packet.seq_no) + run.number).ok()?;
        let time = header.timestamp.wrapping_add(run.time);
        if number >= run.last.0 {
            run.last = (number, time, now);
        }
        let (audio_level, voice_activity) = (header.ext_vals.audio_level, header.ext_vals.voice_activity);
        let values = ExtensionValues { audio_level, voice_activity, ..ExtensionValues::default() };
        let marker = header.marker;
        let write = RtpWrite::new(format, number.into(), time, packet.timestamp, packet.payload);
        Some(write.marker(marker).ext_vals(values))
    }
}

impl Run {
    /// Goes on where the one before has ended.
    fn behind(before: Option<Run>, packet: &RtpPacket, clock: u32, now: Instant) -> Run {
        let (source, number, time) = (packet.header.ssrc, *packet.seq_no, packet.header.timestamp);
        let (to, to_time) = match &before {
            None => (FIRST + (number & 0x3fff), time),
            Some(Run { last: (last, last_time, at), .. }) => {
                let passed = now.saturating_duration_since(*at).as_millis() as u64 * u64::from(clock) / 1_000;
                (last + 1, last_time.wrapping_add(passed.max(1) as u32))
            }
        };
        Run {
            source,
            number: i128::from(to) - i128::from(number),
            time: to_time.wrapping_sub(time),
            last: (to, to_time, now),
        }
    }
}
