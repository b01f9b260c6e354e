//! The first event of a client that names its model there: read before anything is dialled, and sent on after.
//!
//! Start at [`read`]. Invariant: what is kept is whole frames as they came, so that the provider gets them unaltered.

use crate::io::buffer::Buffer;
use crate::io::stream::{self, End, Reader, Writer};
use crate::live::Live;
use crate::shard::Shard;
use crate::upgrade;
use monoio::io::Canceller;
use monoio::time::{Duration, sleep};
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;
use tokenist_core::close_reason::CloseReason;
use tokenist_core::dialect::{ClientEvent, Dialect, Handle};
use tokenist_core::http::blot::Blot;
use tokenist_core::http::{Headers, RequestHead};
use tokenist_core::id::Model;
use tokenist_core::ws::frame::{self, Header, Opcode, unmask};

/// The longest first event.
const BYTES_MAX: usize = 1 << 20;

/// A client's first event.
pub(crate) struct Opening {
    /// `None`: of something that was begun elsewhere.
    pub(crate) model: Option<Model>,
    /// What it attaches to, and others may have attached to.
    pub(crate) call: Option<Box<str>>,
    /// Of the session that it goes on with.
    pub(crate) handle: Option<Handle>,
    /// Its frames, and control frames among them, as they came.
    pub(crate) wire: Vec<u8>,
    /// What they say.
    pub(crate) event: Vec<u8>,
}

impl Opening {
    /// The same with another event in the place of the client's.
    pub(crate) fn instead(
        self,
        dialect: &'static dyn Dialect,
        event: String,
        mask: [u8; 4],
    ) -> Result<Opening, CloseReason> {
        let wire = frame::write(Opcode::Text, event.as_bytes(), Some(mask));
        named(dialect, wire, event.into_bytes())
    }
}

/// Why a session ends before its model is known.
pub(crate) enum Failure {
    Refused(CloseReason),
    /// The client has left.
    Gone,
}

/// Completes the client's upgrade.
pub(crate) async fn answer(head: &RequestHead, websocket_key: &str, writer: &mut Writer) -> io::Result<()> {
    let subprotocol = upgrade::first_subprotocol(&head.headers);
    let words =
        upgrade::switching(websocket_key, subprotocol.as_deref(), &Headers::default(), &Blot::of(None));
    writer.write_bytes(words).await
}

/// Reads until the first event is whole, within the time for a head. What comes behind it stays in the buffer. `Ok(None)`:
/// the client has left.
pub(crate) async fn read(
    shard: &Shard,
    live: &Live,
    mut end: End,
    dialect: &'static dyn Dialect,
) -> (Result<Option<Opening>, CloseReason>, End) {
    let until = shard.time().instant.plus_ms(shard.config.head_ms);
    // The client is told before it is cut.
    live.deadline.set(until.plus_ms(shard.config.close_ms));
    let mut wire = end.buffer.bytes()[..end.filled].to_vec();
    end.filled = 0;
    loop {
        match first_message(&wire) {
            Err(reason) => return (Err(reason), end),
            Ok(Some(Message::Close)) => return (Ok(None), end),
            Ok(Some(Message::Event { bytes, event })) => {
                let behind = wire.split_off(bytes);
                end.buffer.bytes_mut()[..behind.len()].copy_from_slice(&behind);
                end.filled = behind.len();
                return (named(dialect, wire, event).map(Some), end);
            }
            Ok(None) => {}
        }
        let left = Duration::from_millis(until.since(shard.time().instant));
        let (read, buffer) = read_within(&mut end.reader, end.buffer, left).await;
        end.buffer = buffer;
        match read {
            None => return (Err(CloseReason::ModelMissing("it sent no first event in time")), end),
            Some(Ok(0)) | Some(Err(_)) => return (Ok(None), end),
            Some(Ok(count)) => wire.extend_from_slice(&end.buffer.bytes()[..count]),
        }
    }
}

/// Reads for so long at most; `None`: nothing came. The read is cancelled and awaited then, so that no byte is lost.
async fn read_within(
    reader: &mut Reader,
    buffer: Buffer,
    within: Duration,
) -> (Option<io::Result<usize>>, Buffer) {
    let canceller = Canceller::new();
    let mut read = pin!(reader.read(buffer, 0, canceller.handle()));
    let mut time = pin!(sleep(within));
    let first = poll_fn(|context| match read.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => time.as_mut().poll(context).map(|()| None),
    });
    if let Some((result, buffer)) = first.await {
        return (Some(result), buffer);
    }
    drop(canceller.cancel());
    match read.await {
        (Err(error), buffer) if stream::is_cancelled(&error) => (None, buffer),
        (result, buffer) => (Some(result), buffer),
    }
}

/// The first event with the model that it names.
fn named(dialect: &'static dyn Dialect, wire: Vec<u8>, event: Vec<u8>) -> Result<Opening, CloseReason> {
    if let Err(doubt) = dialect.deciding().check(&event) {
        return Err(CloseReason::Ambiguous { what: doubt.to_string() });
    }
    let (mut model, mut resumes, mut is_attached, mut call) = (None, None, false, None);
    let mut begun = 0;
    dialect.read_client(&event, event.len() as u64, &mut |told| match told {
        ClientEvent::Setup(settings) => {
            begun += 1;
            model = settings.model.and_then(|name| Model::parse(name.as_bytes()).ok());
        }
        ClientEvent::Resume { handle } => resumes = Some(handle),
        ClientEvent::Attach { call: named } => {
            begun += 1;
            (is_attached, call) = (true, named.map(Box::from));
        }
        _ => {}
    });
    if begun > 1 {
        return Err(CloseReason::Ambiguous { what: "its first event begins several sessions".into() });
    }
    match model.is_some() || is_attached {
        true => Ok(Opening { model, call, handle: resumes, wire, event }),
        false => Err(CloseReason::ModelMissing("its first event has to name one")),
    }
}

enum Message {
    /// So many bytes of the wire are its frames.
    Event {
        bytes: usize,
        event: Vec<u8>,
    },
    Close,
}

/// The first message of a client, if it is whole.
fn first_message(wire: &[u8]) -> Result<Option<Message>, CloseReason> {
    let protocol = |why: &'static str| CloseReason::Protocol(why);
    let (mut at, mut event, mut opcode) = (0, Vec::new(), None);
    loop {
        let header = Header::read(&wire[at..]).map_err(|violation| protocol(violation.describe()))?;
        let Some(header) = header else { return Ok(None) };
        let mask = header.mask.ok_or(protocol("masking is wrong for this side"))?;
        if event.len() as u64 + header.payload_bytes > BYTES_MAX as u64 {
            return Err(CloseReason::ModelMissing("its first event is longer than 1 MiB"));
        }
        let start = at + header.header_bytes;
        let Some(payload) = wire.get(start..start + header.payload_bytes as usize) else { return Ok(None) };
        at = start + payload.len();
        match header.opcode {
            Opcode::Close => return Ok(Some(Message::Close)),
            Opcode::Ping | Opcode::Pong => continue,
            Opcode::Continuation if opcode.is_none() => {
                return Err(protocol("a continuation without a message"));
            }
            Opcode::Text | Opcode::Binary if opcode.is_some() => {
                return Err(protocol("a message inside a message"));
            }
            Opcode::Continuation => {}
            Opcode::Text | Opcode::Binary => opcode = Some(header.opcode),
        }
        let from = event.len();
        event.extend_from_slice(payload);
        unmask(&mut event[from..], mask, 0);
        if header.fin {
            if opcode == Some(Opcode::Text) && std::str::from_utf8(&event).is_err() {
                return Err(CloseReason::NotText("a text message that is not UTF-8"));
            }
            return Ok(Some(Message::Event { bytes: at, event }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokenist_core::dialect::{GeminiLive, GoogleInteractions, GptLive, ResponsesWs};

    const MASK: Option<[u8; 4]> = Some([1, 2, 3, 4]);
    const SETUP: &[u8] = br#"{"setup":{"model":"models/gemini-3.8-live"}}"#;

    fn event(wire: &[u8]) -> Option<(usize, Vec<u8>)> {
        match first_message(wire) {
            Ok(Some(Message::Event { bytes, event })) => Some((bytes, event)),
            Ok(None) => None,
            Ok(Some(Message::Close)) => panic!("it is no close"),
            Err(reason) => panic!("{reason:?}"),
        }
    }

    /// A frame that does not end its message.
    fn fragment(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
        let mut wire = frame::write(opcode, payload, MASK);
        wire[0] &= 0x7f;
        wire
    }

    #[test]
    fn the_first_event_is_whole_at_its_last_byte_whatever_stands_between_its_frames() {
        let wire = [
            frame::write(Opcode::Ping, b"", MASK),
            fragment(Opcode::Text, &SETUP[..9]),
            frame::write(Opcode::Pong, b"1", MASK),
            frame::write(Opcode::Continuation, &SETUP[9..], MASK),
        ]
        .concat();
        for end in 0..wire.len() {
            assert_eq!(event(&wire[..end]), None, "{end}");
        }
        let behind = [wire.clone(), frame::write(Opcode::Text, b"{}", MASK)].concat();
        for wire_bytes in [&wire, &behind] {
            assert_eq!(event(wire_bytes), Some((wire.len(), SETUP.to_vec())));
        }
        let opening = named(&GeminiLive, wire.clone(), SETUP.to_vec()).unwrap();
        assert_eq!((opening.model, opening.wire), (Some("gemini-3.8-live".into()), wire));
    }

    #[test]
    fn what_is_no_first_event_is_told() {
        let code =
            |wire: &[u8]| first_message(wire).err().map(|reason| (reason.close_code(), reason.message()));
        let long = [&frame::write(Opcode::Text, &vec![b' '; BYTES_MAX + 1], MASK)[..16]].concat();
        for (wire, wanted) in [
            (frame::write(Opcode::Text, SETUP, None), (1002, "masking is wrong")),
            (frame::write(Opcode::Continuation, SETUP, MASK), (1002, "a continuation without a message")),
            (frame::write(Opcode::Text, b"\xff", MASK), (1007, "not UTF-8")),
            (long, (1007, "longer than 1 MiB")),
        ] {
            let (found, message) = code(&wire).expect("it is refused");
            assert!(found == wanted.0 && message.contains(wanted.1), "{found} {message}");
        }
        assert!(matches!(first_message(&frame::write_close(1000, "", MASK)), Ok(Some(Message::Close))));
        for nameless in [&b"{}"[..], br#"{"setup":{}}"#, br#"{"realtimeInput":{}}"#] {
            let reason = named(&GeminiLive, Vec::new(), nameless.to_vec()).err().expect("it names no model");
            assert_eq!((reason.code(), reason.close_code()), ("model_missing", 1007));
        }
    }

    #[test]
    fn a_first_event_that_can_be_read_in_several_ways_is_none() {
        let cases: [(&'static dyn Dialect, &str); 10] = [
            (&GeminiLive, r#"{"setup":{"model":"a","model":"b"}}"#),
            (&GeminiLive, r#"{"setup":{"model":"a"},"SETUP":{"model":"b"}}"#),
            (&GeminiLive, "\u{feff}{\"setup\":{\"model\":\"a\"}}"),
            (&GeminiLive, "hello"),
            (&ResponsesWs, r#"{"type":"response.create","model":"a","\u006dodel":"b"}"#),
            (&ResponsesWs, r#"{"type":"x","type":"response.create","model":"a"}"#),
            (&ResponsesWs, r#"{"type":"response.create","Model":"b"}"#),
            (&GptLive, r#"{"type":"session.start","session":{"model":"a"},"session":{"model":"b"}}"#),
            (
                &GoogleInteractions,
                r#"{"events":[{"event_type":"interaction.create","model":"a"},{"event_type":"interaction.create","model":"b"}]}"#,
            ),
            (
                &GoogleInteractions,
                r#"{"events":[{"event_type":"interaction.create","model":"a"}],"event_type":"interaction.connect","id":"b"}"#,
            ),
        ];
        for (dialect, event) in cases {
            let reason = named(dialect, Vec::new(), event.into()).err().expect(event);
            assert_eq!((reason.code(), reason.close_code()), ("ambiguous_event", 1007), "{event}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fail(wire: Vec<u8>) {
            drop(first_message(&wire));
        }
    }
}
