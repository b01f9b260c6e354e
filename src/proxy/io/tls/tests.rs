//! Our record layer against rustls' own, in memory and over sockets.

use super::handshake::{Handshake, Side};
use super::incoming::Incoming;
use super::outgoing::Outgoing;
use super::record::Fault;
use super::{client_config, server_config};
use crate::io::allocations;
use crate::io::buffer::{BUFFER_BYTES, Pool};
use crate::io::shut_down::ShutdownHandle;
use crate::io::stream::{self, Reader, Writer, is_cancelled};
use monoio::io::Canceller;
use monoio::net::{TcpListener, TcpStream};
use monoio::time::{Duration, sleep};
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};
use rustls::client::UnbufferedClientConnection;
use rustls::crypto::aws_lc_rs::{ALL_CIPHER_SUITES, default_provider};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::UnbufferedServerConnection;
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, Connection, Error, HandshakeKind, RootCertStore,
    ServerConfig, ServerConnection, SupportedCipherSuite,
};
use std::io::{ErrorKind, Read, Write};
use std::rc::Rc;
use std::sync::Arc;
use tokenist_kit::{Certificate, Scratch};

/// Which end is ours; the other is rustls as it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ours {
    Server,
    Client,
}

const ENDS: [Ours; 2] = [Ours::Server, Ours::Client];

struct Configs {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    roots: RootCertStore,
}

impl Configs {
    fn new() -> Configs {
        let scratch = Scratch::new();
        let certificate = Certificate::write(&scratch);
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&certificate.certificate).unwrap()).unwrap();
        Configs {
            server: server_config(&certificate.certificate, &certificate.key).unwrap(),
            client: client_config(Some(&certificate.certificate)).unwrap(),
            roots,
        }
    }

    /// The same, with a client that knows one cipher suite.
    fn with(&self, suite: SupportedCipherSuite) -> Configs {
        let mut provider = default_provider();
        provider.cipher_suites.retain(|one| *one == suite);
        let mut client = ClientConfig::builder_with_provider(provider.into())
            .with_protocol_versions(&[suite.version()])
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        client.enable_secret_extraction = true;
        Configs { server: Arc::clone(&self.server), client: client.into(), roots: self.roots.clone() }
    }
}

/// Those that a certificate of ECDSA goes with.
fn suites() -> impl Iterator<Item = SupportedCipherSuite> {
    ALL_CIPHER_SUITES.iter().copied().filter(|suite| !format!("{suite:?}").contains("_RSA_"))
}

/// A connection whose handshake is over.
struct Pair {
    incoming: Incoming,
    outgoing: Outgoing,
    theirs: Connection,
}

fn name() -> rustls::pki_types::ServerName<'static> {
    "localhost".try_into().unwrap()
}

fn both(configs: &Configs, ours: Ours) -> (Handshake, Connection) {
    let server = Arc::clone(&configs.server);
    let client = Arc::clone(&configs.client);
    match ours {
        Ours::Server => {
            let side = Side::Server(UnbufferedServerConnection::new(server).unwrap());
            (Handshake::new(side), ClientConnection::new(client, name()).unwrap().into())
        }
        Ours::Client => {
            let side = Side::Client(UnbufferedClientConnection::new(client, name()).unwrap());
            (Handshake::new(side), ServerConnection::new(server).unwrap().into())
        }
    }
}

/// What rustls wants sent.
fn said(theirs: &mut Connection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while theirs.wants_write() {
        theirs.write_tls(&mut bytes).unwrap();
    }
    bytes
}

fn tell(theirs: &mut Connection, mut bytes: &[u8]) -> Result<(), Error> {
    while !bytes.is_empty() {
        theirs.read_tls(&mut bytes).unwrap();
        theirs.process_new_packets()?;
    }
    Ok(())
}

impl Pair {
    /// Shakes hands, ours being given what comes `piece` bytes at a time.
    fn shake(configs: &Configs, ours: Ours, piece: usize) -> Result<Pair, Error> {
        let (mut handshake, mut theirs) = both(configs, ours);
        let pool = Pool::default();
        let (mut buffer, mut filled) = (pool.take().unwrap(), 0);
        let mut coming = Vec::new();
        let mut is_done = handshake.advance(buffer.bytes_mut(), &mut filled)?;
        while !is_done {
            tell(&mut theirs, &std::mem::take(&mut handshake.outgoing))?;
            coming.extend(said(&mut theirs));
            assert!(!coming.is_empty(), "neither says anything");
            let count = piece.min(coming.len());
            buffer.bytes_mut()[filled..filled + count].copy_from_slice(&coming[..count]);
            filled += count;
            coming.drain(..count);
            is_done = handshake.advance(buffer.bytes_mut(), &mut filled)?;
        }
        tell(&mut theirs, &std::mem::take(&mut handshake.outgoing))?;
        let (opener, sealer, shared) = handshake.agreed()?;
        let incoming = Incoming::new(opener, Rc::clone(&shared), pool, (buffer, filled));
        let mut pair = Pair { incoming, outgoing: Outgoing::new(sealer, shared), theirs };
        pair.receive(&coming);
        Ok(pair)
    }

    /// Gives ours what came from the network.
    fn receive(&mut self, bytes: &[u8]) {
        let mut room = self.incoming.room().unwrap();
        let end = room.filled() + bytes.len();
        room.buffer.bytes_mut()[end - bytes.len()..end].copy_from_slice(bytes);
        self.incoming.received(room.buffer, end);
    }

    /// All that ours can read now, through a room of so many bytes.
    fn read(&mut self, room_bytes: usize) -> Result<Vec<u8>, Fault> {
        let mut read = Vec::new();
        let mut room = vec![0; room_bytes];
        loop {
            match self.incoming.take(&mut room)? {
                0 => return Ok(read),
                count => read.extend(&room[..count]),
            }
        }
    }

    /// Seals by theirs; what goes over the network.
    fn sent_by_theirs(&mut self, plain: &[u8]) -> Vec<u8> {
        self.theirs.writer().write_all(plain).unwrap();
        said(&mut self.theirs)
    }

    fn hear(&mut self, plain: &[u8], room_bytes: usize) {
        let bytes = self.sent_by_theirs(plain);
        self.receive(&bytes);
        assert!(self.read(room_bytes).unwrap() == plain);
    }

    fn say(&mut self, plain: &[u8]) {
        let mut out = vec![0; BUFFER_BYTES];
        let count = self.outgoing.seal(plain, &mut out).unwrap();
        let mut read: Vec<u8> = Vec::new();
        // A part at a time, because rustls keeps little plaintext.
        for part in out[..count].chunks(8_000) {
            tell(&mut self.theirs, part).unwrap();
            let mut room = [0; 50_000];
            match self.theirs.reader().read(&mut room) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => read.extend(&room[..result.unwrap()]),
            }
        }
        assert!(read == plain);
    }
}

fn text(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (index % 251) as u8).collect()
}

#[test]
fn every_cipher_of_both_versions_is_understood_both_ways() {
    let configs = Configs::new();
    for suite in suites() {
        let configs = configs.with(suite);
        for ours in ENDS {
            let mut pair = Pair::shake(&configs, ours, usize::MAX)
                .unwrap_or_else(|error| panic!("{suite:?} {ours:?}: {error}"));
            for bytes in [1, 300, 16_384, 16_385, 50_000] {
                pair.hear(&text(bytes), BUFFER_BYTES);
                pair.say(&text(bytes));
            }
        }
    }
}

#[test]
fn a_handshake_may_come_in_pieces_of_any_size() {
    let configs = Configs::new();
    for ours in ENDS {
        for piece in [1, 2, 3, 5, 100, 1_000] {
            let mut pair = Pair::shake(&configs, ours, piece).unwrap();
            pair.hear(b"behind it", 100);
            pair.say(b"and back");
        }
    }
}

#[test]
fn a_record_may_be_split_at_every_byte_and_is_read_once_it_is_whole() {
    let mut pair = Pair::shake(&Configs::new(), Ours::Server, usize::MAX).unwrap();
    let plain = text(200);
    for at in 0..plain.len() + 22 {
        let bytes = pair.sent_by_theirs(&plain);
        pair.receive(&bytes[..at]);
        assert_eq!(pair.read(1_000).unwrap(), b"", "{at} bytes are no record");
        pair.receive(&bytes[at..]);
        assert_eq!(pair.read(1_000).unwrap(), plain);
    }
}

#[test]
fn plaintext_is_read_through_room_of_any_size() {
    for ours in ENDS {
        let mut pair = Pair::shake(&Configs::new(), ours, usize::MAX).unwrap();
        for room_bytes in [1, 7, 100, 16_383, 16_384, 16_385, 40_000] {
            pair.hear(&text(45_000), room_bytes);
        }
    }
}

#[test]
fn records_are_filled_and_leave_together() {
    let mut pair = Pair::shake(&Configs::new(), Ours::Server, usize::MAX).unwrap();
    let mut out = vec![0; BUFFER_BYTES];
    let sealed = pair.outgoing.seal(&text(40_000), &mut out).unwrap();
    assert_eq!(sealed, 40_000 + 3 * 22, "three records of 16 KiB at most");
}

#[test]
fn keys_change_when_the_peer_wants_it() {
    let configs = Configs::new();
    for ours in ENDS {
        let mut pair = Pair::shake(&configs, ours, usize::MAX).unwrap();
        for _ in 0..100 {
            pair.theirs.refresh_traffic_keys().unwrap();
            pair.hear(b"under new keys", 100);
            pair.say(b"under new keys, too");
        }
        // Asked for twice before we had anything to say, they change once.
        pair.theirs.refresh_traffic_keys().unwrap();
        pair.hear(b"once", 100);
        pair.theirs.refresh_traffic_keys().unwrap();
        pair.hear(b"twice", 100);
        pair.say(b"and on");
    }
}

#[test]
fn keys_that_are_worn_out_are_changed_or_seal_no_more() {
    let configs = Configs::new();
    for suite in suites() {
        let mut pair = Pair::shake(&configs.with(suite), Ours::Server, usize::MAX).unwrap();
        pair.outgoing.wear(3);
        let mut out = vec![0; BUFFER_BYTES];
        if suite.tls13().is_some() {
            (0..10).for_each(|_| pair.say(b"on and on"));
            continue;
        }
        (0..3).for_each(|_| pair.say(b"on"));
        assert!(pair.outgoing.seal(b"and on", &mut out).is_err(), "{suite:?} has no new keys");
    }
}

#[test]
fn whoever_says_nothing_but_new_keys_is_told_off() {
    let mut pair = Pair::shake(&Configs::new(), Ours::Server, usize::MAX).unwrap();
    for _ in 0..40 {
        pair.theirs.refresh_traffic_keys().unwrap();
        let bytes = said(&mut pair.theirs);
        pair.receive(&bytes);
    }
    let fault = pair.read(100).unwrap_err();
    assert!(matches!(fault, Fault::Broken(AlertDescription::UnexpectedMessage, _)), "{fault}");
}

#[test]
fn an_end_is_told_and_heard() {
    for ours in ENDS {
        let mut pair = Pair::shake(&Configs::new(), ours, usize::MAX).unwrap();
        let mut bytes = pair.sent_by_theirs(b"last words");
        pair.theirs.send_close_notify();
        bytes.extend(said(&mut pair.theirs));
        pair.receive(&bytes);
        assert_eq!(pair.read(100).unwrap(), b"last words");
        assert!(pair.incoming.is_closed());
        // We may still talk.
        pair.say(b"ours");
        let mut out = [0; 100];
        let count = pair.outgoing.seal_end(&mut out).unwrap();
        tell(&mut pair.theirs, &out[..count]).unwrap();
        assert_eq!(pair.theirs.reader().read(&mut [0; 10]).unwrap(), 0, "a clean end");
    }
}

#[test]
fn what_was_tampered_with_is_not_read_and_its_sender_is_told() {
    let configs = Configs::new();
    // In the ciphertext and in the tag: in 5 bytes of header, more may be waited for.
    for at in [5, 50, 117, 121] {
        let mut pair = Pair::shake(&configs, Ours::Client, usize::MAX).unwrap();
        let mut bytes = pair.sent_by_theirs(b"sound");
        let mut broken = pair.sent_by_theirs(&text(100));
        broken[at] ^= 1;
        bytes.extend(broken);
        pair.receive(&bytes);
        let mut room = [0; 200];
        assert_eq!(pair.incoming.take(&mut room).unwrap(), 5, "what came before it is read");
        for _ in 0..2 {
            let fault = pair.incoming.take(&mut room).unwrap_err();
            assert!(matches!(fault, Fault::Broken(AlertDescription::BadRecordMac, _)), "{fault}");
        }
        let mut out = [0; 100];
        let count = pair.outgoing.seal_end(&mut out).unwrap();
        let heard = tell(&mut pair.theirs, &out[..count]).unwrap_err();
        assert_eq!(heard, Error::AlertReceived(AlertDescription::BadRecordMac));
    }
}

#[test]
fn the_next_handshake_is_shorter() {
    for ours in ENDS {
        let configs = Configs::new();
        let kinds: Vec<_> = (0..2)
            .map(|_| {
                let mut pair = Pair::shake(&configs, ours, usize::MAX).unwrap();
                // Tickets come behind the handshake.
                let bytes = said(&mut pair.theirs);
                pair.receive(&bytes);
                pair.hear(b"data", 100);
                pair.say(b"data");
                pair.theirs.handshake_kind()
            })
            .collect();
        assert_eq!(kinds, [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)], "{ours:?}");
    }
}

#[test]
fn a_failed_handshake_says_why() {
    let configs = Configs::new();
    for junk in [
        &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        &[22, 3, 1, 0xff, 0xff, 1, 2],
        &[22, 3, 1, 0, 4, 1, 0, 0, 0],
    ] {
        let (mut handshake, _) = both(&configs, Ours::Server);
        let mut bytes = vec![0; BUFFER_BYTES];
        bytes[..junk.len()].copy_from_slice(junk);
        let mut filled = junk.len();
        assert!(handshake.advance(&mut bytes, &mut filled).is_err());
        assert_eq!(handshake.outgoing.first(), Some(&21), "an alert");
    }
    // A server whose certificate is not trusted is told so, too.
    let other = Configs { server: Arc::clone(&configs.server), ..Configs::new() };
    let heard = Pair::shake(&other, Ours::Server, usize::MAX).err();
    assert!(matches!(heard, Some(Error::InvalidCertificate(_))), "{heard:?}");
    let (mut handshake, mut theirs) = both(&other, Ours::Client);
    let mut bytes = vec![0; BUFFER_BYTES];
    assert!(!handshake.advance(&mut bytes, &mut 0).unwrap());
    tell(&mut theirs, &std::mem::take(&mut handshake.outgoing)).unwrap();
    let coming = said(&mut theirs);
    bytes[..coming.len()].copy_from_slice(&coming);
    assert!(handshake.advance(&mut bytes, &mut coming.len().clone()).is_err());
    assert!(matches!(tell(&mut theirs, &handshake.outgoing), Err(Error::AlertReceived(_))));
}

/// Both ends ours, over a socket.
async fn ends(configs: &Configs, pool: &Pool) -> [(Reader, Writer); 2] {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (client, server) =
        monoio::join!(TcpStream::connect_addr(listener.local_addr().unwrap()), listener.accept());
    let handle = ShutdownHandle::default();
    let client = stream::split(client.unwrap(), &handle).unwrap();
    let server = stream::split(server.unwrap().0, &handle).unwrap();
    let (client, server) = monoio::join!(
        stream::connect_tls(client, Arc::clone(&configs.client), name(), pool),
        stream::accept_tls(server, None, Arc::clone(&configs.server), pool)
    );
    [client.unwrap(), server.unwrap()]
}

/// On both drivers, as far as they are to be had: containers often forbid the ring.
fn on_each_driver(test: impl AsyncFn()) {
    RuntimeBuilder::<LegacyDriver>::new().enable_timer().build().unwrap().block_on(test());
    if let Ok(mut ring) = RuntimeBuilder::<IoUringDriver>::new().enable_timer().build() {
        ring.block_on(test());
    }
}

#[test]
fn a_message_allocates_nothing() {
    let configs = Configs::new();
    on_each_driver(async || {
        let pool = Pool::default();
        let [(_client_reader, mut writer), (mut reader, _server_writer)] = ends(&configs, &pool).await;
        let canceller = Canceller::new();
        let mut allocated = 0;
        for round in 0..200 {
            let before = allocations::count();
            for bytes in [300, 8_192, 30_000] {
                let (written, buffer) = writer.write(pool.take().unwrap(), 0..bytes).await;
                written.unwrap();
                let (mut buffer, mut filled) = (buffer, 0);
                while filled < bytes {
                    let result;
                    (result, buffer) = reader.read(buffer, filled, canceller.handle()).await;
                    filled += result.unwrap();
                }
            }
            // The first rounds fill what is used again.
            if round >= 10 {
                allocated += allocations::count() - before;
            }
        }
        assert_eq!(allocated, 0, "allocations in 570 messages");
    });
}

#[test]
fn a_read_that_is_cancelled_loses_nothing() {
    let configs = Configs::new();
    on_each_driver(async || {
        let mut pair = Pair::shake(&configs, Ours::Server, usize::MAX).unwrap();
        let plain = text(3_000);
        let wire: Vec<u8> = plain.chunks(700).flat_map(|part| pair.sent_by_theirs(part)).collect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut peer = std::net::TcpStream::connect(address).unwrap();
        let stream = listener.accept().await.unwrap().0;
        let (Reader::Plain(raw), _writer) = stream::split(stream, &ShutdownHandle::default()).unwrap() else {
            unreachable!("it is plain");
        };
        let mut reader = Reader::Tls(Box::new(super::TlsReader::new(raw, pair.incoming)));
        let (mut buffer, mut filled, mut cancelled) = (Pool::default().take().unwrap(), 0, 0);
        for part in wire.chunks(97) {
            // Cancelled before anything is there, and when a part of a record is.
            for bytes in [&[][..], part] {
                peer.write_all(bytes).unwrap();
                let canceller = Canceller::new();
                let read = reader.read(buffer, filled, canceller.handle());
                let cancel = async {
                    sleep(Duration::from_millis(2)).await;
                    let _cancelled = canceller.cancel();
                };
                let ((result, returned), ()) = monoio::join!(read, cancel);
                buffer = returned;
                match result {
                    Err(error) if is_cancelled(&error) => cancelled += 1,
                    result => filled += result.unwrap(),
                }
            }
        }
        assert_eq!(&buffer.bytes()[..filled], plain);
        assert!(cancelled > 30, "{cancelled}");
        drop(peer);
        let (result, _) = reader.read(buffer, filled, Canceller::new().handle()).await;
        assert_eq!(result.unwrap(), 0, "who leaves without a word has left");
    });
}
