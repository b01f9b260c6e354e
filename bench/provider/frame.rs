//! The frames that a session sends: as they should be, in the shape that was asked for, or broken on command.

use super::sim::{Odd, Sim};
use crate::ws::{CLOSE, CONTINUATION, End, FIN, PING, TEXT};

/// One message in the frames that `sim` asks for; `opcode` where it asks for none.
pub(super) fn up(sim: &Sim, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let opcode = sim.opcode.unwrap_or(opcode);
    let mut frames = Vec::with_capacity(payload.len() + 14);
    if sim.fragment_bytes == 0 || payload.len() <= sim.fragment_bytes {
        End::Server.frame(FIN | opcode, payload, &mut frames);
        return frames;
    }
    let count = payload.len().div_ceil(sim.fragment_bytes);
    for (index, fragment) in payload.chunks(sim.fragment_bytes).enumerate() {
        let opcode = if index == 0 { opcode } else { CONTINUATION };
        let fin = if index + 1 == count { FIN } else { 0 };
        End::Server.frame(fin | opcode, fragment, &mut frames);
        if fin == 0 {
            End::Server.frame(FIN | PING, b"between", &mut frames);
        }
    }
    frames
}

pub(super) fn odd(odd: Odd) -> Vec<u8> {
    let text = br#"{"type":"odd"}"#;
    let mut frame = Vec::new();
    match odd {
        Odd::Masked => End::Client.frame(FIN | TEXT, text, &mut frame),
        Odd::Rsv1 => End::Server.frame(FIN | 0x40 | TEXT, text, &mut frame),
        Odd::Opcode => End::Server.frame(FIN | 0x3, text, &mut frame),
        Odd::LongPing => End::Server.frame(FIN | PING, &[b'p'; 126], &mut frame),
        Odd::SplitPing => End::Server.frame(PING, b"p", &mut frame),
        Odd::BadClose => End::Server.frame(FIN | CLOSE, &[3], &mut frame),
        Odd::BadUtf8 => End::Server.frame(FIN | TEXT, b"{\"type\":\"\xff\xfe\"}", &mut frame),
    }
    frame
}
