//! Runs against a simulated provider in the same program: what it counts is what its users were told.

use super::*;
use crate::dialect::Dialect;
use crate::provider::sim::Sim;
use crate::provider::{self, Bound};
use crate::target::{Handshake, Reach, Transport};
use crate::{summary, tls};
use serde_json::Value;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use tokenist_core::usage::Usage;

const SECOND: Duration = Duration::from_secs(1);

/// A provider on ports of its own, with the authority of its certificate in a file.
struct Provider {
    bound: Bound,
    ca: PathBuf,
}

impl Provider {
    fn start(sim: &str) -> Provider {
        let (config, authority) = tls::server_generated().unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        let options = provider::Options {
            listen: any,
            tls: Some((any, config)),
            shard_count: 2,
            seed: 42,
            key: None,
            beta: false,
            sim: Sim::default().with(sim).unwrap(),
        };
        let bound = provider::start(options).unwrap();
        let name = format!("tokload-{}-{}.pem", std::process::id(), bound.listen.port());
        let ca = std::env::temp_dir().join(name);
        std::fs::write(&ca, authority).unwrap();
        Provider { bound, ca }
    }

    fn plain(&self) -> String {
        format!("ws://{}", self.bound.listen)
    }

    fn tls(&self) -> String {
        format!("wss://{}", self.bound.tls_listen.unwrap())
    }

    fn load(&self, url: &str, scenario: &str) -> Tally {
        self.load_of(Dialect::Openai, url, scenario)
    }

    fn load_of(&self, dialect: Dialect, url: &str, scenario: &str) -> Tally {
        self.load_over(Transport::Socket, dialect, url, scenario)
    }

    /// As calls.
    fn call(&self, dialect: Dialect, url: &str, scenario: &str) -> Tally {
        self.load_over(Transport::Webrtc, dialect, url, scenario)
    }

    fn load_over(&self, transport: Transport, dialect: Dialect, url: &str, scenario: &str) -> Tally {
        let model = dialect.model().to_owned();
        let handshake = Handshake { dialect, model, key: "k".into(), headers: Vec::new(), transport };
        let ca = tls::client(Path::new(&self.ca)).unwrap();
        let target = Target::parse(url, Reach::Loopback, Some(&ca), handshake).unwrap();
        run(&Scenario::parse(scenario).unwrap(), &target, 2, &|_| {}).unwrap().0
    }

    fn audit(&self) -> Value {
        self.request("GET /audit")
    }

    fn request(&self, what: &str) -> Value {
        let mut stream = std::net::TcpStream::connect(self.bound.listen).unwrap();
        write!(stream, "{what} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        std::fs::remove_file(&self.ca).unwrap();
    }
}

fn usage(of: &Value) -> Usage {
    serde_json::from_value(of.clone()).unwrap()
}

#[test]
fn the_audit_equals_what_the_users_were_told() {
    for sim in [
        "",
        "chunks=3,chunk_bytes=100,split=7",
        "fragment=50,type_last",
        "bytewise,chunks=1",
        "status=failed",
    ] {
        let provider = Provider::start(sim);
        for url in [provider.plain(), provider.tls()] {
            let tally = provider.load(&url, "turns,sessions=6,users=3,turns=4,seconds=20");
            assert_eq!((tally.turns, tally.error_count()), (24, 0), "{sim} {url}: {:?}", tally.errors);
            let audit = provider.audit();
            for (user, models) in &tally.users {
                for (model, told) in models {
                    assert_eq!(*told, usage(&audit["by_key"][user][model]), "{sim} {url} {user} {model}");
                }
            }
            assert_eq!(tally.usage(), usage(&audit["totals"]));
            assert_eq!(audit["totals"]["responses"], 24);
            provider.request("POST /audit/reset");
        }
    }
}

#[test]
fn of_gemini_the_audit_equals_what_the_users_were_told_by_either_service() {
    let vertex = "/ws/google.cloud.aiplatform.v1.LlmBidiService/BidiGenerateContent";
    for sim in [
        "",
        "usage=after,split=7",
        "usage=with_audio,fragment=50",
        "usage=with_audio,compact",
        "chunks=1,chunk_bytes=100,text",
        "chunks=0,reasoning=9,text_out=20",
        "context=900:80:50",
    ] {
        let provider = Provider::start(sim);
        for (url, path) in [(provider.plain(), ""), (provider.tls(), ""), (provider.plain(), vertex)] {
            let scenario = "turns,sessions=6,users=3,turns=4,seconds=20";
            let tally = provider.load_of(Dialect::Gemini, &format!("{url}{path}"), scenario);
            assert_eq!((tally.turns, tally.error_count()), (24, 0), "{sim} {url}: {:?}", tally.errors);
            let audit = provider.audit();
            for (user, models) in &tally.users {
                let told = models["gemini-3.8-live"];
                assert_eq!(told, usage(&audit["by_key"][user]["gemini-3.8-live"]), "{sim} {path} {user}");
            }
            assert_eq!(tally.usage(), usage(&audit["totals"]));
            assert_eq!((tally.users.len(), &audit["totals"]["responses"]), (3, &24.into()));
            provider.request("POST /audit/reset");
        }
    }
}

#[test]
fn of_gemini_what_is_not_told_is_no_usage() {
    for (sim, fact) in
        [("usage=absent", "without_usage"), ("usage=null", "without_usage"), ("die@end", "undelivered")]
    {
        let provider = Provider::start(sim);
        let tally =
            provider.load_of(Dialect::Gemini, &provider.plain(), "turns,sessions=4,turns=1,seconds=20");
        let totals = &provider.audit()["totals"];
        assert_eq!((&totals[fact], tally.usage()), (&4.into(), usage(totals)), "{sim}");
        assert!(totals["billed"]["audio_out"].as_u64() > Some(0), "{sim}: {totals}");
    }
}

#[test]
fn a_session_that_is_resumed_is_one_and_is_told_all_that_it_uses() {
    let provider = Provider::start("usage=after");
    let scenario = "turns,sessions=4,turns=5,resume=2,seconds=20";
    let tally = provider.load_of(Dialect::Gemini, &provider.plain(), scenario);
    assert_eq!(tally.error_count(), 0, "{:?}", tally.errors);
    assert_eq!((tally.sessions_opened, tally.sessions_resumed, tally.turns), (4, 8, 20));
    let audit = provider.audit();
    assert_eq!((&audit["session_count"], &audit["handshake_count"]), (&4.into(), &12.into()));
    for session in audit["sessions"].as_array().unwrap() {
        assert_eq!((&session["connections"], &session["responses"]), (&3.into(), &5.into()), "{session}");
        assert_eq!(session["close_code"], 1000, "{session}");
    }
    assert_eq!(tally.usage(), usage(&audit["totals"]));
}

#[test]
fn of_what_bills_time_the_audit_equals_what_the_users_were_told() {
    for dialect in [
        Dialect::Interactions,
        Dialect::Deepgram,
        Dialect::Assemblyai,
        Dialect::Cartesia,
        Dialect::Speechmatics,
        Dialect::Mistral,
    ] {
        for sim in ["", "split=7", "fragment=50,chunks=0", "bytewise,chunks=1"] {
            let provider = Provider::start(sim);
            let scenario = "turns,sessions=6,users=3,turns=4,seconds=20";
            for url in [provider.plain(), provider.tls()] {
                let tally = provider.load_of(dialect, &url, scenario);
                let case = format!("{dialect:?} {sim} {url}");
                assert_eq!((tally.turns, tally.error_count()), (24, 0), "{case}: {:?}", tally.errors);
                let audit = provider.audit();
                for (user, models) in &tally.users {
                    let told = models[dialect.model()];
                    assert_eq!(told, usage(&audit["by_key"][user][dialect.model()]), "{case} {user}");
                }
                assert_eq!(
                    (tally.usage(), &audit["totals"]["responses"]),
                    (usage(&audit["totals"]), &6.into()),
                    "{case}"
                );
                provider.request("POST /audit/reset");
            }
        }
    }
}

#[test]
fn time_that_is_not_told_is_billed_all_the_same() {
    for (dialect, sim, fact) in [
        (Dialect::Deepgram, "usage=absent", "without_usage"),
        (Dialect::Deepgram, "die@end", "undelivered"),
        (Dialect::Elevenlabs, "", "without_usage"),
    ] {
        let provider = Provider::start(sim);
        let scenario = "turns,sessions=4,turns=2,rate=40,seconds=20";
        let tally = provider.load_of(dialect, &provider.plain(), scenario);
        let totals = &provider.audit()["totals"];
        assert_eq!((&totals[fact], tally.usage()), (&4.into(), Usage::default()), "{dialect:?} {sim}");
        assert!(totals["billed"]["duration_ms"].as_u64() > Some(0), "{dialect:?} {sim}: {totals}");
    }
}

#[test]
fn a_response_that_dies_is_no_usage() {
    let provider = Provider::start("die@end");
    let tally = provider.load(&provider.plain(), "turns,sessions=4,turns=1,seconds=20");
    assert_eq!(tally.errors.get("session ended early"), Some(&4));
    let totals = &provider.audit()["totals"];
    assert_eq!((&totals["responses"], &totals["undelivered"]), (&0.into(), &4.into()));
    assert_eq!(usage(&totals["undelivered_usage"]).requests, 4);
}

#[test]
fn usage_told_twice_is_counted_once() {
    let provider = Provider::start("usage=twice");
    let tally = provider.load(&provider.plain(), "turns,sessions=4,turns=1,seconds=20");
    assert_eq!(tally.usage(), usage(&provider.audit()["totals"]));
}

#[test]
fn every_scenario_flows_and_ends_by_itself() {
    let provider = Provider::start("");
    let scenarios = [
        ("ping,sessions=4,rate=200,seconds=0.5", true),
        ("speech,sessions=4,seconds=0.5", true),
        ("saturate,sessions=2,seconds=0.3", true),
        ("saturate,sessions=2,event_bytes=300,send_bytes=1,seconds=0.3", true),
        ("churn,sessions=4,rate=40,seconds=0.5", false),
        ("idle,sessions=8,seconds=0.2", false),
    ];
    for dialect in [Dialect::Openai, Dialect::Gemini] {
        for (scenario, has_messages) in scenarios {
            let tally = provider.load_of(dialect, &provider.plain(), scenario);
            assert_eq!(tally.error_count(), 0, "{dialect:?} {scenario}: {:?}", tally.errors);
            assert!(tally.sessions_opened > 0, "{dialect:?} {scenario}");
            assert_eq!(tally.messages_received > 0, has_messages, "{dialect:?} {scenario}");
            let is_timed = scenario.starts_with("ping") || scenario.starts_with("speech");
            assert_eq!(tally.latency.count() > 0, is_timed, "{dialect:?} {scenario}");
        }
    }
}

#[test]
fn over_http_the_audit_equals_what_the_users_were_told() {
    let dialects = [Dialect::Chat, Dialect::Responses, Dialect::Messages, Dialect::Generate];
    for sim in ["", "split=7", "bytewise,cached_text=3,text_in=20"] {
        let provider = Provider::start(sim);
        for url in [provider.plain(), provider.tls()].map(|url| url.replace("ws", "http")) {
            for (dialect, kind) in dialects.iter().flat_map(|of| [(*of, "ask"), (*of, "stream")]) {
                let scenario = format!("{kind},sessions=6,users=3,turns=4,chunks=5,period_ms=0,seconds=20");
                let tally = provider.load_of(dialect, &url, &scenario);
                let case = format!("{dialect:?} {kind} {sim} {url}");
                assert_eq!((tally.turns, tally.error_count()), (24, 0), "{case}: {:?}", tally.errors);
                assert_eq!(tally.sessions_opened, 6, "{case}: connections are kept");
                let audit = provider.audit();
                for (user, models) in &tally.users {
                    let told = models[dialect.model()];
                    assert_eq!(told, usage(&audit["by_key"][user][dialect.model()]), "{case} {user}");
                }
                assert_eq!((tally.users.len(), &audit["totals"]["responses"]), (3, &24.into()), "{case}");
                // The events that end a Response's text, its part, its item and itself say it all again.
                let said = if dialect == Dialect::Responses { 9 } else { 5 };
                assert_eq!(tally.event.count(), if kind == "stream" { 24 * said } else { 0 }, "{case}");
                assert_eq!((tally.first.count(), tally.latency.count()), (24, 24), "{case}");
                provider.request("POST /audit/reset");
            }
        }
    }
}

#[test]
fn over_http_connections_are_kept_or_not_and_refusals_are_told() {
    let provider = Provider::start("");
    let url = provider.plain().replace("ws", "http");
    let tally = provider.load_of(Dialect::Chat, &url, "idle,sessions=5,seconds=0.1");
    assert_eq!(
        (tally.sessions_opened, tally.usage().requests, tally.error_count()),
        (5, 5, 0),
        "{:?}",
        tally.errors
    );
    let tally = provider.load_of(Dialect::Chat, &url, "churn,sessions=2,rate=40,seconds=0.5");
    assert_eq!(tally.error_count(), 0, "{:?}", tally.errors);
    assert!(tally.turns > 1 && tally.sessions_opened == tally.usage().requests, "{tally:?}");
    let tally =
        provider.load_of(Dialect::Chat, &format!("{url}?sim=refuse:429"), "ask,sessions=2,turns=1,seconds=9");
    assert_eq!((tally.errors.get("HTTP 429"), tally.turns), (Some(&2), 0));
    let cut =
        provider.load_of(Dialect::Chat, &format!("{url}?sim=die@end"), "stream,sessions=2,turns=1,seconds=9");
    assert_eq!((cut.error_count(), cut.turns), (2, 0), "{:?}", cut.errors);
}

#[test]
fn a_scenario_that_is_not_spoken_there_is_refused() {
    let provider = Provider::start("");
    for (dialect, url, scenario) in [
        (Dialect::Openai, provider.plain(), "ask"),
        (Dialect::Chat, provider.plain().replace("ws", "http"), "ping"),
    ] {
        let handshake = Handshake {
            dialect,
            model: "m".into(),
            key: "k".into(),
            headers: Vec::new(),
            transport: Transport::Socket,
        };
        let target = Target::parse(&url, Reach::Loopback, None, handshake).unwrap();
        assert!(run(&Scenario::parse(scenario).unwrap(), &target, 1, &|_| {}).is_err(), "{scenario}");
    }
}

#[test]
fn of_calls_the_audit_equals_what_the_users_were_told() {
    for (dialect, sim) in [
        (Dialect::Openai, ""),
        (Dialect::Openai, "chunks=9,chunk_bytes=960,sound=none"),
        (Dialect::Azure, "codec=pcma"),
        (Dialect::GptLive, ""),
    ] {
        let provider = Provider::start(sim);
        for url in [provider.plain(), provider.tls()] {
            let tally = provider.call(dialect, &url, "turns,sessions=4,users=2,turns=3,seconds=20");
            let case = format!("{dialect:?} {sim} {url}: {:?}", tally.errors);
            assert_eq!((tally.turns, tally.error_count()), (12, 0), "{case}");
            let audit = provider.audit();
            for (user, models) in &tally.users {
                for (model, told) in models {
                    assert_eq!(*told, usage(&audit["by_key"][user][model]), "{case} {user} {model}");
                }
            }
            assert_eq!(tally.usage(), usage(&audit["totals"]), "{case}");
            assert_eq!((&audit["session_count"], &audit["totals"]["responses"]), (&4.into(), &12.into()));
            let media = &tally.media;
            assert!(media.sent >= 60, "{case} {media:?}");
            assert_eq!(media.tones > 0, !sim.contains("none"), "{case} {media:?}");
            provider.request("POST /audit/reset");
        }
    }
}

#[test]
fn of_calls_sound_is_echoed_and_tells_how_long_it_took() {
    let provider = Provider::start("");
    let tally = provider.call(Dialect::Openai, &provider.plain(), "ping,sessions=4,rate=100,seconds=1");
    assert_eq!(tally.error_count(), 0, "{:?}", tally.errors);
    assert!(tally.messages_received > 50, "{}", tally.messages_received);
    assert_eq!(tally.latency.count(), tally.messages_received);
    for scenario in ["ping,sessions=4,rate=100,seconds=1", "speech,sessions=4,seconds=1"] {
        let tally = provider.call(Dialect::Openai, &provider.plain(), scenario);
        let media = &tally.media;
        assert_eq!(tally.error_count(), 0, "{scenario} {:?}", tally.errors);
        assert!((160..=220).contains(&media.sent), "{scenario} {media:?}");
        assert_eq!((media.received, media.lost), (media.sent, 0), "{scenario} {media:?}");
        assert_eq!((media.lost_up, media.lost_down), (0, 0), "{scenario} {media:?}");
        assert_eq!((media.up.count(), media.down.count(), media.jitter.count()), (media.sent, media.sent, 4));
        let figures = summary::figures(&Scenario::parse(scenario).unwrap(), &tally, SECOND);
        assert_eq!(figures["media"]["packets_received"], media.sent, "{figures}");
        assert_eq!(figures["media"]["lost"], 0, "{figures}");
        for times in ["up_us", "down_us"] {
            let us = |of: &str| figures["media"][times][of].as_f64().unwrap();
            assert!(us("p50") > 1.0 && us("p50") <= us("p99"), "{times} in {figures}");
            assert!(us("p50") < 50_000.0, "{times} in {figures}");
        }
        assert_eq!(figures["latency_us"]["p99"].is_f64(), scenario.starts_with("ping"), "{figures}");
    }
}

#[test]
fn of_calls_sound_that_nobody_echoes_is_lost() {
    let provider = Provider::start("die@greeting");
    let tally = provider.call(Dialect::Openai, &provider.plain(), "ping,sessions=2,rate=100,seconds=0.5");
    assert!(tally.media.sent > 20, "{:?}", tally.media);
    assert_eq!((tally.media.lost, tally.media.received), (tally.media.sent, 0), "{:?}", tally.media);
}

#[test]
fn calls_are_opened_and_closed_like_sessions() {
    let provider = Provider::start("");
    let tally = provider.call(Dialect::Openai, &provider.plain(), "churn,sessions=4,seconds=1");
    assert_eq!(tally.error_count(), 0, "{:?}", tally.errors);
    assert!(tally.sessions_opened >= 4, "{}", tally.sessions_opened);
    let tally = provider.call(Dialect::Openai, &provider.plain(), "idle,sessions=8,seconds=0.5");
    assert_eq!((tally.sessions_opened, tally.error_count()), (8, 0), "{:?}", tally.errors);
    let provider = Provider::start("refuse=429:3");
    let tally = provider.call(Dialect::Openai, &provider.plain(), "idle,sessions=3,seconds=0.1");
    assert_eq!(tally.errors.get("open: HTTP 429"), Some(&3));
}

#[test]
fn a_refused_handshake_is_an_error_with_its_status() {
    let provider = Provider::start("refuse=429:3");
    let tally = provider.load(&provider.plain(), "idle,sessions=3,seconds=0.1");
    assert_eq!(tally.errors.get("open: HTTP 429"), Some(&3));
}
