//! The same session with TLS on both sides of the proxy: whole turns, large messages, and ends that are told.

use rustls::{ClientConnection, StreamOwned};
use serde_json::json;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread;
use tokenist_kit::{
    Certificate, Client, Handshake, Heard, PATIENCE, Provider, Scratch, Signal, Tokenist, eventually, leaf,
};

/// TLS to the proxy, TLS from there to the simulated provider.
struct Stage {
    provider: Provider,
    proxy: Tokenist,
    listen: SocketAddr,
    certificate: Certificate,
    scratch: Scratch,
}

impl Stage {
    fn new(settings: &[(&str, &str)]) -> Stage {
        let scratch = Scratch::new();
        let certificate = Certificate::write(&scratch);
        let text = |path: &Path| path.display().to_string();
        let (cert, key) = (text(&certificate.certificate), text(&certificate.key));
        let ca = text(&scratch.path().join("ca.pem"));
        let provider = Provider::start(&["--tls-listen", "127.0.0.1:0", "--write-ca", &ca]);
        let origin = provider.tls_origin().expect("it listens in TLS");
        let ours = [
            ("proxy.shard_count", "1"),
            ("proxy.listen", ""),
            ("proxy.tls_listen", "127.0.0.1:0"),
            ("proxy.tls_cert", &cert),
            ("proxy.tls_key", &key),
            ("provider.ca_file", &ca),
        ];
        let proxy = Tokenist::start(&origin, &[&ours[..], settings].concat());
        let listen = proxy.tls_listen.expect("it listens in TLS");
        Stage { provider, proxy, listen, certificate, scratch }
    }

    fn open(&self, handshake: &Handshake) -> Client {
        Client::open_tls(self.listen, self.certificate.trust(), handshake)
            .unwrap_or_else(|answer| panic!("refused: {answer:?}"))
    }
}

#[test]
fn whole_turns_pass_and_are_counted_in_tls() {
    let stage = Stage::new(&[]);
    let threads: Vec<_> = (0..8)
        .map(|index| {
            let mut client = stage.open(&Handshake::of(&format!("user-{}", index % 2)));
            thread::spawn(move || {
                client.hear_until("session.created").unwrap();
                for turn in 0..5 {
                    client
                        .turn(
                            ["", "split=1,chunks=2,chunk_bytes=300", "fragment=1000", "chunks=40"][turn % 4],
                        )
                        .unwrap();
                }
                client.leave();
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let audit = stage.provider.audit();
    assert_eq!(audit["totals"]["responses"], 40);
    let counted = || {
        let users = stage.proxy.get("/admin/users");
        let users = users["users"].as_array().unwrap();
        users.iter().filter_map(|user| user["usage"]["totalTokens"].as_u64()).sum::<u64>()
    };
    assert_eq!(
        eventually(PATIENCE, counted, |total| audit["totals"]["total_tokens"] == *total),
        audit["totals"]["total_tokens"]
    );
}

#[test]
fn large_messages_pass_in_tls() {
    let stage = Stage::new(&[]);
    let mut client = stage.open(&Handshake::of("alice"));
    client.hear_until("session.created").unwrap();
    // 15 MB of audio, as much as one event may carry, up.
    client.say(&json!({"type": "input_audio_buffer.append", "audio": "AAAA".repeat(5 << 20)}));
    client.say(&json!({"type": "input_audio_buffer.commit"}));
    client.hear_until("input_audio_buffer.committed").unwrap();
    // And 20 MB in one event down.
    client.turn("giant=20000000").unwrap();
    let giant = client
        .events
        .iter()
        .filter(|event| event["delta"].as_str().is_some_and(|delta| delta.len() > 19_999_000));
    assert_eq!(giant.count(), 1);
    client.leave();
}

#[test]
fn a_session_that_ends_in_tls_says_so() {
    let stage = Stage::new(&[]);
    // By a close of the provider, by its death, by a reset.
    for (sim, code) in [("close@middle=4000:done with you", 4000), ("die", 4502), ("reset", 4502)] {
        let mut client = stage.open(&Handshake::of("alice"));
        client.ask_response(sim);
        let (_, close) = client.hear_out();
        assert_eq!(close.map(|(code, _)| code), Some(code), "{sim}");
        assert_eq!(client.hear(), Heard::End, "{sim}");
    }
    // Whoever reads to the end of a refusal is told that nothing was cut off: close_notify comes before the end.
    let mut stream = handshake(&stage);
    stream.write_all(b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the end is told");
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}

fn handshake(stage: &Stage) -> StreamOwned<ClientConnection, TcpStream> {
    let socket = TcpStream::connect(stage.listen).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let name = "localhost".try_into().unwrap();
    StreamOwned::new(ClientConnection::new(stage.certificate.trust(), name).unwrap(), socket)
}

#[test]
fn who_does_not_speak_tls_or_is_slow_about_it_shakes_nothing() {
    let stage = Stage::new(&[("proxy.head_seconds", "1")]);
    let not_tls: [&[u8]; 4] = [
        b"GET /v1/realtime HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"",
        b"\x16\x03\x01\x02\x00",
        &[0x16, 3, 1, 0xff, 0xff],
    ];
    for said in not_tls {
        let mut socket = TcpStream::connect(stage.listen).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(said).unwrap();
        expect_end(socket);
    }
    // Encrypted, but half a request.
    let mut stream = handshake(&stage);
    stream.write_all(b"GET /v1").unwrap();
    expect_end(stream);
    let mut client = stage.open(&Handshake::of("alice"));
    client.turn("").unwrap();
    client.leave();
}

#[test]
fn whoever_speaks_tls_to_the_plain_port_is_told_at_once_and_so_is_the_operator() {
    let provider = Provider::start(&[]);
    let proxy = Tokenist::start(&provider.origin(), &[("proxy.head_seconds", "3600")]);
    let mut socket = TcpStream::connect(proxy.listen).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(b"\x16\x03\x01\x02\x00\x01").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("proxy.tls_listen"), "{answer}");
    let log = proxy.logged("a client spoke TLS to proxy.listen");
    assert!(log.contains("see proxy.tls_listen"), "{log}");
}

/// However it ends, it ends.
fn expect_end(mut stream: impl Read) {
    match stream.read_to_end(&mut Vec::new()) {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            panic!("the connection is still open");
        }
        Ok(_) | Err(_) => {}
    }
}

#[test]
fn a_hangup_brings_new_certificates_and_leaves_sessions_alone() {
    let stage = Stage::new(&[]);
    let mut client = stage.open(&Handshake::of("alice"));
    client.turn("").unwrap();
    let old = stage.certificate.trust();
    let fresh = Certificate::write(&stage.scratch);
    stage.proxy.signal(Signal::Hangup);
    let shown = eventually(PATIENCE, || leaf(stage.listen, fresh.trust()), Option::is_some);
    assert!(shown.is_some() && leaf(stage.listen, old).is_none());
    client.turn("").unwrap();
    client.leave();
    // What cannot be read leaves the old in force.
    std::fs::write(&fresh.key, "no key").unwrap();
    stage.proxy.signal(Signal::Hangup);
    stage.proxy.logged("nothing was read again");
    assert!(leaf(stage.listen, fresh.trust()).is_some());
}

/// A connection that says something with the first thing that is written to it.
struct Announcing {
    socket: TcpStream,
    first: Vec<u8>,
}

impl Read for Announcing {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        self.socket.read(bytes)
    }
}

impl Write for Announcing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.first.extend(bytes);
        self.socket.write_all(&std::mem::take(&mut self.first))?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.socket.flush()
    }
}

#[test]
fn a_balancer_announces_its_client_before_tls_begins() {
    let stage = Stage::new(&[("proxy.trusted_proxies", "127.0.0.1"), ("proxy.proxy_protocol", "true")]);
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x01\x02\x03\x04\x7f\0\0\x01\x01\x02\0\x50";
    for first in [&b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 443\r\n"[..], v2] {
        let socket = TcpStream::connect(stage.listen).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let name = "localhost".try_into().unwrap();
        let connection = ClientConnection::new(stage.certificate.trust(), name).unwrap();
        let mut stream = StreamOwned::new(connection, Announcing { socket, first: first.to_vec() });
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the end is told");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    assert!(leaf(stage.listen, stage.certificate.trust()).is_none(), "who does not announce is closed");
}

#[test]
fn a_hangup_brings_new_roots_for_the_provider() {
    let scratch = Scratch::new();
    let right = scratch.path().join("right.pem");
    let written = right.display().to_string();
    let provider = Provider::start(&["--tls-listen", "127.0.0.1:0", "--write-ca", &written]);
    let file = Certificate::write(&scratch).certificate;
    let ca_file = file.display().to_string();
    let origin = provider.tls_origin().expect("it listens in TLS");
    let proxy = Tokenist::start(&origin, &[("provider.ca_file", &ca_file)]);
    let mut refused = proxy.session("alice").unwrap();
    assert_eq!(refused.hear_out().1.map(|(code, _)| code), Some(4502));
    std::fs::write(&file, "no certificate").unwrap();
    proxy.signal(Signal::Hangup);
    let stale = || proxy.get("/health")["staleFiles"][0]["setting"].clone();
    let shown = eventually(PATIENCE, stale, |setting| setting == "provider.ca_file");
    assert_eq!(shown, "provider.ca_file");
    std::fs::copy(&right, &file).unwrap();
    proxy.signal(Signal::Hangup);
    assert_eq!(eventually(PATIENCE, stale, serde_json::Value::is_null), serde_json::Value::Null);
    let mut client = proxy.session("alice").unwrap();
    client.turn("").unwrap();
    client.leave();
}

#[test]
fn a_provider_with_another_certificate_is_not_trusted() {
    let scratch = Scratch::new();
    let provider = Provider::start(&["--tls-listen", "127.0.0.1:0"]);
    let other = Certificate::write(&scratch);
    let ca = other.certificate.display().to_string();
    for ca_file in ["", &ca] {
        let proxy = Tokenist::start(&provider.tls_origin().unwrap(), &[("provider.ca_file", ca_file)]);
        let mut client = proxy.session("alice").unwrap();
        let (events, close) = client.hear_out();
        assert_eq!(events[0]["error"]["code"], "upstream_failed");
        assert_eq!(close.map(|(code, _)| code), Some(4502));
    }
    assert_eq!(provider.audit()["handshake_count"], 0, "no key was shown to it");
}
