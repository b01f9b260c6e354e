//! What is said and heard on a call: packets of 20 ms that hold a tone, silence, or the moment of their sending.
//!
//! The tone has eight whole periods in a packet, so that all packets of it are alike and no codec is needed for it: of Opus one
//! packet was taken from libopus's stream of it.

use crate::stamp::Stamp;
use std::f64::consts::TAU;
use std::time::Duration;
use str0m::format::Codec;

pub(crate) const PACKET_MS: u64 = 20;
pub(crate) const PACKET: Duration = Duration::from_millis(PACKET_MS);
/// G.711's, of 8 kHz.
const SAMPLES: usize = 160;
const TONE_HZ: f64 = 400.0;
const TONE_PEAK: f64 = 8_000.0;
/// Opus's shortest packet: 20 ms of silence, fullband, of two channels.
const OPUS_SILENCE: [u8; 3] = [0xfc, 0xff, 0xfe];
/// 20 ms of the tone by libopus, CELT alone at 24 kbit/s. Decoded again and again, 99.99 % of what is heard is the tone.
const OPUS_TONE: [u8; 60] = [
    0xb8, 0xad, 0x6d, 0x67, 0x14, 0xdd, 0xf2, 0x3e, 0xa0, 0xe2, 0xb9, 0x61, 0xc3, 0x18, 0xef, 0xeb, 0x25,
    0x70, 0xcf, 0x8f, 0xcf, 0xd2, 0x02, 0xd5, 0xe5, 0x26, 0xcb, 0x10, 0x6d, 0x73, 0xbd, 0x51, 0xe5, 0x44,
    0xbf, 0xf3, 0x2a, 0x24, 0xb2, 0x7e, 0x98, 0xab, 0x7f, 0xbf, 0x91, 0xb8, 0x03, 0xc6, 0x34, 0x19, 0xd8,
    0x9d, 0x87, 0x12, 0x16, 0xb8, 0xaa, 0x57, 0x11, 0xf9,
];

/// A packet of the tone.
pub(crate) fn tone(codec: Codec) -> Vec<u8> {
    let sample = |index: usize| {
        let phase = TAU * TONE_HZ * index as f64 / 8_000.0;
        (TONE_PEAK * phase.sin()) as i16
    };
    match codec {
        Codec::PCMU => (0..SAMPLES).map(|index| to_mu_law(sample(index))).collect(),
        Codec::PCMA => (0..SAMPLES).map(|index| to_a_law(sample(index))).collect(),
        _ => OPUS_TONE.to_vec(),
    }
}

pub(crate) fn silence(codec: Codec) -> Vec<u8> {
    match codec {
        Codec::PCMU => vec![to_mu_law(0); SAMPLES],
        Codec::PCMA => vec![to_a_law(0); SAMPLES],
        _ => OPUS_SILENCE.to_vec(),
    }
}

/// How much of what is heard in a packet is the tone: 1 where it is nothing else, 0 where it is silent. Of Opus, which nobody
/// here decodes, only the packet that the provider sends is known.
pub(crate) fn tone_share(codec: Codec, payload: &[u8]) -> f64 {
    let samples: Vec<f64> = match codec {
        Codec::PCMU => payload.iter().map(|&byte| f64::from(of_mu_law(byte))).collect(),
        Codec::PCMA => payload.iter().map(|&byte| f64::from(of_a_law(byte))).collect(),
        _ => return f64::from(u8::from(payload == OPUS_TONE)),
    };
    let power: f64 = samples.iter().map(|sample| sample * sample).sum();
    let (mut real, mut imaginary) = (0.0, 0.0);
    for (index, sample) in samples.iter().enumerate() {
        let phase = TAU * TONE_HZ * index as f64 / 8_000.0;
        real += sample * phase.cos();
        imaginary += sample * phase.sin();
    }
    let loud_enough = power > 100.0 * 100.0 * samples.len() as f64;
    if loud_enough {
        2.0 * (real * real + imaginary * imaginary) / (power * samples.len() as f64)
    } else {
        0.0
    }
}

/// How long a packet plays, in milliseconds.
pub(crate) fn packet_ms(codec: Codec, payload: &[u8]) -> u64 {
    match codec {
        Codec::Opus => opus_us(payload) / 1_000,
        _ => payload.len() as u64 / 8,
    }
}

/// RFC 6716, 3.1: what the first byte says of a frame, and how many frames there are.
fn opus_us(payload: &[u8]) -> u64 {
    let Some(&first) = payload.first() else { return 0 };
    let frame_us = match first >> 3 {
        config @ 0..=11 => [10_000, 20_000, 40_000, 60_000][usize::from(config % 4)],
        config @ 12..=15 => [10_000, 20_000][usize::from(config % 2)],
        config => [2_500, 5_000, 10_000, 20_000][usize::from(config % 4)],
    };
    let frames = match first & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u64::from(payload.get(1).map_or(0, |count| count & 0x3f)),
    };
    frame_us * frames
}

/// What a packet of load says of its way: there, and back from whoever echoes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passage {
    /// Its place among all that were sent, from 0.
    pub(crate) number: u64,
    pub(crate) sent: Stamp,
    /// How many had come to who echoed it, and when it sent this one back.
    pub(crate) echoed: Option<(u64, Stamp)>,
}

const MARK: &[u8; 8] = b"tokload\n";
/// Stands in the place of what is not yet known.
const NOT_YET: u64 = u64::MAX;

impl Passage {
    /// A packet of G.711 that holds it.
    pub(crate) fn packet(self) -> Vec<u8> {
        let (count, at) = self.echoed.map_or((NOT_YET, NOT_YET), |(count, at)| (count, at.ns()));
        let mut packet = MARK.to_vec();
        for field in [self.number, self.sent.ns(), count, at] {
            packet.extend_from_slice(&field.to_be_bytes());
        }
        packet.resize(SAMPLES, 0xff);
        packet
    }

    /// What a packet made by [`Passage::packet`] says; `None` for any other.
    pub(crate) fn of(packet: &[u8]) -> Option<Passage> {
        let fields = packet.strip_prefix(MARK)?.get(..32)?;
        let field = |index: usize| {
            u64::from_be_bytes(fields[8 * index..8 * index + 8].try_into().expect("eight bytes"))
        };
        let echoed = (field(2) != NOT_YET).then(|| (field(2), Stamp::of_ns(field(3))));
        Some(Passage { number: field(0), sent: Stamp::of_ns(field(1)), echoed })
    }
}

const BIAS: i32 = 0x84;

fn to_mu_law(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = i32::from(sample).abs().min(32_635) + BIAS;
    let exponent = (31 - magnitude.leading_zeros()) as u8 - 7;
    let mantissa = ((magnitude >> (exponent + 3)) & 0x0f) as u8;
    !(sign | (exponent << 4) | mantissa)
}

fn of_mu_law(byte: u8) -> i16 {
    let byte = !byte;
    let (exponent, mantissa) = ((byte >> 4) & 7, i32::from(byte & 0x0f));
    let magnitude = ((((mantissa << 3) + BIAS) << exponent) - BIAS) as i16;
    if byte & 0x80 == 0 { magnitude } else { -magnitude }
}

fn to_a_law(sample: i16) -> u8 {
    let sign = if sample < 0 { 0 } else { 0x80 };
    let magnitude = (if sample < 0 { !sample } else { sample }) >> 4;
    let exponent = if magnitude < 16 { 0 } else { 12 - magnitude.leading_zeros() as i16 };
    let mantissa = (magnitude >> (exponent - 1).max(0)) & 0x0f;
    (sign | ((exponent as u8) << 4) | mantissa as u8) ^ 0x55
}

fn of_a_law(byte: u8) -> i16 {
    let byte = byte ^ 0x55;
    let (exponent, mantissa) = ((byte >> 4) & 7, i16::from(byte & 0x0f));
    let magnitude = match exponent {
        0 => (mantissa << 4) + 8,
        exponent => ((mantissa << 4) + 0x108) << (exponent - 1),
    };
    if byte & 0x80 == 0 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_law_and_mu_law_keep_a_sample_to_a_part_of_sixteen() {
        for sample in (-32_000..32_000).step_by(37) {
            for back in [of_mu_law(to_mu_law(sample)), of_a_law(to_a_law(sample))] {
                let error = (i32::from(sample) - i32::from(back)).abs();
                assert!(error <= i32::from(sample).abs() / 16 + 16, "{sample} became {back}");
            }
        }
    }

    #[test]
    fn the_tone_is_told_from_silence_and_from_noise() {
        for codec in [Codec::PCMU, Codec::PCMA] {
            assert!(tone_share(codec, &tone(codec)) > 0.99);
            assert!(tone_share(codec, &silence(codec)) < 0.01);
            let noise: Vec<u8> = (0..160_u32).map(|index| (index * index * 97 % 251) as u8).collect();
            assert!(tone_share(codec, &noise) < 0.2);
            assert_eq!(packet_ms(codec, &tone(codec)), PACKET_MS);
        }
        for (packet, share) in [(tone(Codec::Opus), 1.0), (silence(Codec::Opus), 0.0)] {
            assert_eq!(
                (packet_ms(Codec::Opus, &packet), tone_share(Codec::Opus, &packet)),
                (PACKET_MS, share)
            );
        }
        for (first, us) in [(0x00, 10_000), (0x18, 60_000), (0x60, 10_000), (0x80, 2_500), (0x79, 40_000)] {
            assert_eq!(opus_us(&[first]), us, "{first:#x}");
        }
        assert_eq!(opus_us(&[0xfb, 0x03]), 60_000);
    }

    #[test]
    fn a_packet_keeps_the_moments_of_its_passage() {
        for echoed in [None, Some((7, Stamp::now()))] {
            let passage = Passage { number: 8, sent: Stamp::now(), echoed };
            let packet = passage.packet();
            assert_eq!((packet.len(), Passage::of(&packet)), (SAMPLES, Some(passage)));
        }
        assert_eq!(Passage::of(&tone(Codec::PCMU)), None);
        assert_eq!(Passage::of(MARK), None);
    }
}
