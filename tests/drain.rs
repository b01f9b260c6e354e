//! SIGTERM drains: nobody new, those who are there may finish, and the process ends by itself.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};
use tokenist_kit::{Client, PATIENCE, Provider, Signal, Tokenist, eventually, request};

/// Longer than any test would wait.
const FOR_EVER: (&str, &str) = ("proxy.drain_seconds", "600");

fn start(provider: &Provider, drain: (&str, &str)) -> Tokenist {
    Tokenist::start(&provider.origin(), &[("proxy.shard_count", "2"), drain])
}

/// Sends the first signal and waits until it has been heard.
fn begin(tokenist: &Tokenist, signal: Signal) {
    assert_eq!(tokenist.ask("GET", "/ready", &serde_json::Value::Null).status, 200);
    assert_eq!(request(tokenist.listen, "GET", "/ready", &[], "").status, 200);
    tokenist.signal(signal);
    let ready = || tokenist.ask("GET", "/ready", &serde_json::Value::Null).status;
    assert_eq!(eventually(PATIENCE, ready, |&status| status == 503), 503);
}

#[track_caller]
fn ended(tokenist: &mut Tokenist) -> ExitStatus {
    tokenist.wait(PATIENCE).expect("the process ends by itself")
}

#[test]
fn sessions_may_finish_while_nobody_new_comes_in() {
    let provider = Provider::start(&[]);
    for signal in [Signal::Terminate, Signal::Interrupt] {
        let mut tokenist = start(&provider, FOR_EVER);
        let mut sessions: Vec<_> = (0..10).map(|_| tokenist.session("alice").unwrap()).collect();
        sessions.iter_mut().for_each(|session| drop(session.turn("").unwrap()));
        begin(&tokenist, signal);
        // The port says no as long as it is open, and then it is closed.
        let port = || request(tokenist.listen, "GET", "/ready", &[], "").status;
        assert!([503, 0].contains(&eventually(PATIENCE, port, |&status| status != 200)));
        assert_eq!(eventually(PATIENCE, port, |&status| status == 0), 0);
        assert!(tokenist.session("bob").is_err());
        for mut session in sessions {
            assert_eq!(session.turn("chunks=50").unwrap()["response"]["status"], "completed");
            assert!(tokenist.wait(Duration::ZERO).is_none(), "it waits for the others");
            session.leave();
        }
        assert_eq!(ended(&mut tokenist).code(), Some(0), "{signal:?}");
    }
}

#[test]
fn sessions_that_do_not_finish_are_told_to_go_at_the_deadline() {
    let provider = Provider::start(&[]);
    let mut tokenist = start(&provider, ("proxy.drain_seconds", "1"));
    let mut sessions: Vec<_> = (0..10).map(|_| tokenist.session("alice").unwrap()).collect();
    let mut speaking = tokenist.session("bob").unwrap();
    speaking.ask_response("chunks=100000,pace=5");
    speaking.hear_until("response.output_audio.delta").unwrap();
    sessions.push(speaking);
    let signalled_at = Instant::now();
    begin(&tokenist, Signal::Terminate);
    // Those that have no response under way go in the second half, so that fewer are cut in one.
    for (index, mut session) in sessions.into_iter().enumerate() {
        let (events, close) = session.hear_out();
        assert_eq!(events.last().expect("a last word")["error"]["code"], "draining");
        assert_eq!(close.expect("a close").0, 1001);
        let earliest = if index == 10 { 900 } else { 400 };
        assert!(signalled_at.elapsed() >= Duration::from_millis(earliest), "too early");
    }
    assert_eq!(ended(&mut tokenist).code(), Some(0));
}

/// What became of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Visit {
    Answered,
    /// By the kernel: nobody listens, or nobody does any more.
    Refused,
    /// Taken in and left alone.
    Forgotten,
}

fn visit(address: SocketAddr) -> Visit {
    let mut answer = Vec::new();
    let mut ask = || {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        stream.read_to_end(&mut answer)
    };
    match ask() {
        _ if answer.starts_with(b"HTTP/1.1 ") => Visit::Answered,
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset) => {
            Visit::Refused
        }
        Ok(_) | Err(_) => Visit::Forgotten,
    }
}

#[test]
fn a_shard_without_sessions_leaves_nobody_waiting_while_another_goes_on() {
    let provider = Provider::start(&[]);
    for driver in ["auto", "epoll"] {
        let settings = [("proxy.shard_count", "4"), ("proxy.driver", driver), FOR_EVER];
        let mut tokenist = Tokenist::start(&provider.origin(), &settings);
        let mut session = tokenist.session("alice").unwrap();
        session.turn("").unwrap();
        begin(&tokenist, Signal::Terminate);
        // Three shards go one after the other, and with the last of them the port.
        let visits = || [(); 32].map(|()| visit(tokenist.listen));
        let are_told =
            |visits: &[Visit; 32]| visits.contains(&Visit::Forgotten) || *visits == [Visit::Refused; 32];
        assert_eq!(eventually(PATIENCE, visits, are_told), [Visit::Refused; 32], "{driver}");
        session.turn("").unwrap();
        session.leave();
        assert_eq!(ended(&mut tokenist).code(), Some(0));
    }
}

#[test]
fn whoever_connects_while_it_begins_to_drain_is_answered_or_refused() {
    let provider = Provider::start(&[]);
    for _ in 0..5 {
        let mut tokenist = start(&provider, FOR_EVER);
        let mut session = tokenist.session("alice").unwrap();
        session.turn("").unwrap();
        let address = tokenist.listen;
        let visitors: Vec<_> = (0..4)
            .map(|_| {
                thread::spawn(move || {
                    let mut visits = Vec::new();
                    while visits.iter().filter(|visit| **visit == Visit::Refused).count() < 20 {
                        visits.push(visit(address));
                    }
                    visits
                })
            })
            .collect();
        begin(&tokenist, Signal::Terminate);
        for visitor in visitors {
            let visits = visitor.join().unwrap();
            assert!(visits.contains(&Visit::Answered) && !visits.contains(&Visit::Forgotten), "{visits:?}");
        }
        session.leave();
        assert_eq!(ended(&mut tokenist).code(), Some(0));
    }
}

#[test]
fn a_process_without_sessions_ends_at_once() {
    let provider = Provider::start(&[]);
    // The signal may come as soon as the process says that it serves.
    for _ in 0..20 {
        let mut tokenist = start(&provider, FOR_EVER);
        tokenist.signal(Signal::Terminate);
        assert_eq!(ended(&mut tokenist).code(), Some(0));
    }
}

#[test]
fn a_client_that_is_deaf_to_its_end_delays_it_by_no_more_than_the_closing_time() {
    let provider = Provider::start(&[]);
    let mut tokenist = start(&provider, ("proxy.drain_seconds", "1"));
    // It neither reads nor answers.
    let deaf: Client = tokenist.session("alice").unwrap();
    tokenist.signal(Signal::Terminate);
    assert_eq!(ended(&mut tokenist).code(), Some(0));
    drop(deaf);
}

#[test]
fn two_signals_at_once_are_one_and_a_later_one_ends_it() {
    let provider = Provider::start(&[]);
    let mut tokenist = start(&provider, FOR_EVER);
    let mut session = tokenist.session("alice").unwrap();
    session.turn("").unwrap();
    begin(&tokenist, Signal::Terminate);
    assert!(tokenist.wait(Duration::ZERO).is_none(), "it waits for the session");
    tokenist.signal(Signal::Interrupt);
    session.turn("").expect("a terminal's Ctrl-C and the script that passes it on are one request to drain");
    std::thread::sleep(Duration::from_millis(1_100)); // Only a later signal is a second one.
    tokenist.signal(Signal::Terminate);
    let status = ended(&mut tokenist);
    assert!(!status.success(), "what was under way was broken off: {status}");
}
