//! Calls of real WebRTC stacks, unaltered, through whole voice turns and into an end that nobody at them asked for: Chromium in a
//! page's own words and in @openai/agents-realtime's, aiortc, and werift. Sound goes both ways, and what they were told, what
//! the proxy booked and what the provider delivered are the same. The programs are in `clients/`; `scripts/lib/dashboard` and
//! `scripts/lib/clients` install what they import.

mod reckon;

use reckon::{Bill, agree, settled};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};
use tokenist_core::usage::Usage;
use tokenist_kit::clients::{Stage, hear};
use tokenist_kit::{PATIENCE, eventually, request};

const OPERATORS_KEY: &str = "sk-the-operators-key";
const USER: &str = "alice";
const TRANSCRIBER: &str = "gpt-4o-mini-transcribe";
/// Every program asks for so many responses.
const RESPONSES: u64 = 2;
/// The provider says something for a second.
const SHORT: &str = "chunks=10,pace=speech";
/// For twenty: who hears the end of that was not cut.
const LONG: &str = "chunks=200,pace=speech";

/// How calls go.
#[derive(Clone, Copy, Debug)]
struct Mode {
    name: &'static str,
    /// Whether a client is told why its call is ended: that can only who is in the way.
    tells: bool,
}

const MODES: [Mode; 2] = [Mode { name: "direct", tells: false }, Mode { name: "relay", tells: true }];

#[derive(Clone, Copy, Debug)]
struct Program {
    file: &'static str,
    /// What runs in a page, which holds a token.
    page: Option<&'static str>,
    /// How the call is asked for, where there is a choice.
    form: Option<&'static str>,
}

const fn page(name: &'static str) -> Program {
    Program { file: "browser.mjs", page: Some(name), form: None }
}

const fn aiortc(form: &'static str) -> Program {
    Program { file: "aiortc_call.py", page: None, form: Some(form) }
}

const PAGE: Program = page("page_call.mjs");
const AGENTS: Program = page("page_agents_call.mjs");
const AIORTC: Program = aiortc("sdp");
const WERIFT: Program = Program { file: "werift_call.mjs", page: None, form: None };

/// aiortc and werift offer no address of loopback, so on a machine that has no other they reach nobody.
fn can_be_run(program: &Program) -> bool {
    let is_able = program.page.is_some() || has_network();
    if !is_able {
        eprintln!("skipped: {} needs a network other than loopback", program.file);
    }
    is_able
}

fn has_network() -> bool {
    let to_elsewhere = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    to_elsewhere.is_ok_and(|address| !address.ip().is_loopback())
}

/// Each of these in each mode: those of a mode at the same time, for most of theirs is waiting.
fn each(programs: &[Program], test: impl Fn(Mode, Program) + Sync) {
    let test = &test;
    for mode in MODES {
        thread::scope(|scope| {
            for program in programs.iter().filter(|program| can_be_run(program)) {
                scope.spawn(move || test(mode, *program));
            }
        });
    }
}

fn stage(mode: Mode, sim: &str, settings: &[(&str, &str)]) -> Stage {
    let ours = [
        ("identity.passthrough", "false"),
        ("provider.api_key_env", "OPERATORS_KEY"),
        ("OPERATORS_KEY", OPERATORS_KEY),
        ("browser.origins", "*"),
        ("webrtc.mode", mode.name),
    ];
    Stage::new(&["--seed", "7", "--key", OPERATORS_KEY, "--sim", sim], &[&ours[..], settings].concat())
}

/// Runs a client to its end and gives what it says it heard.
fn run(stage: &Stage, program: Program) -> Value {
    let mut key = stage.key_of(USER);
    if program.page.is_some() {
        key = token(stage, &key);
    }
    let mut client = stage.client(program.file, "google");
    client.args(program.page).args([&stage.origin(false), &key]).args(program.form);
    hear(client)
}

/// A token for a page of this key's user.
fn token(stage: &Stage, key: &str) -> String {
    let headers = [("Authorization", &*format!("Bearer {key}"))];
    let asked = json!({"session": {"type": "realtime", "model": "gpt-realtime"}}).to_string();
    let answer = request(stage.proxy.listen, "POST", "/v1/realtime/client_secrets", &headers, &asked);
    answer.json()["value"].as_str().unwrap_or_else(|| panic!("{}", answer.body)).to_owned()
}

/// Its call was ended in the middle of its first response. Who is not in the way cannot keep the provider from telling that it
/// was cancelled.
fn expect_cut(mode: Mode, stopped: &Value, code: &str) {
    let error = mode.tells.then_some(code);
    assert_eq!(json!([stopped["error"], stopped["is_ended"]]), json!([error, true]), "{mode:?}: {stopped}");
    let most = u64::from(!mode.tells);
    assert!(stopped["responses"].as_u64().is_some_and(|count| count <= most), "{mode:?}: {stopped}");
}

fn tokens(booked: &BTreeMap<String, Bill>) -> Value {
    let count = |of: fn(&Usage) -> u64| booked.values().map(|bill| of(&bill.usage)).sum::<u64>();
    json!([count(Usage::input_tokens), count(Usage::output_tokens)])
}

/// How long a tone was heard.
fn heard_ms(heard: &Value, which: &str) -> f64 {
    heard[which].as_f64().unwrap_or_else(|| panic!("{heard}"))
}

/// How often the provider was asked to end a call.
fn hangups(stage: &Stage) -> usize {
    let audit = stage.provider.audit();
    let asked = audit["handshakes"].as_array().into_iter().flatten();
    asked.filter(|asked| asked["path"].as_str().is_some_and(|path| path.ends_with("/hangup"))).count()
}

/// Waits until so many calls are over, and gives what each was closed with. A request that a call was asked for with is listed as
/// well where that took longer than a second, and it ended well.
fn close_codes(stage: &Stage, count: usize) -> Vec<Value> {
    let past = || {
        let past = stage.proxy.get("/admin/sessions/past");
        let past = past["sessions"].as_array().into_iter().flatten();
        past.filter(|session| session["closeCode"] != 1000).cloned().collect::<Vec<_>>()
    };
    let past = eventually(PATIENCE, past, |past| past.len() == count);
    assert_eq!(past.len(), count, "{past:?}");
    past.iter().map(|session| session["closeCode"].clone()).collect()
}

/// Two turns: all is told and heard, and is booked as it was delivered. Tells what was booked, by model.
fn speak(mode: Mode, program: Program) -> (BTreeMap<String, Bill>, Value) {
    let stage = stage(mode, SHORT, &[]);
    let heard = run(&stage, program);
    let told = json!([heard["error"], heard["responses"], heard["is_ended"]]);
    assert_eq!(told, json!([null, RESPONSES, false]), "{mode:?}: {heard}");
    let booked = agree(&stage.proxy, USER, &stage.provider, "-");
    assert_eq!(tokens(&booked), json!([heard["input_tokens"], heard["output_tokens"]]), "{mode:?}: {heard}");
    let tone_ms = heard_ms(&heard, "tone_ms");
    assert!(
        (1_200.0..2_600.0).contains(&tone_ms),
        "{mode:?}: two seconds are heard as {tone_ms} ms: {heard}"
    );
    let handshakes = stage.provider.audit()["handshakes"].to_string();
    for ours in ["ug_", "ek_", "origin", "x-user-id"] {
        assert!(!handshakes.contains(ours), "{ours} went upstream: {handshakes}");
    }
    (booked, heard)
}

/// As [`speak`], of clients that are written down: the provider bills by how long it has heard them, and nearly a second has
/// been spoken.
fn speak_and_be_heard(programs: &[Program]) {
    each(programs, |mode, program| {
        let (booked, heard) = speak(mode, program);
        let tenths = booked[TRANSCRIBER].usage.audio_in;
        assert!((3..50).contains(&tenths), "{mode:?}: {tenths} tenths of a second arrived: {heard}");
    });
}

#[test]
fn a_page_speaks_and_hears_and_is_counted_as_it_was_told() {
    speak_and_be_heard(&[PAGE]);
}

#[test]
fn the_agents_sdk_speaks_and_hears_and_is_counted_as_it_was_told() {
    speak_and_be_heard(&[AGENTS]);
}

#[test]
fn aiortc_and_werift_speak_and_hear_and_are_counted_as_they_were_told() {
    speak_and_be_heard(&[AIORTC, aiortc("form"), WERIFT]);
}

#[test]
fn a_gpt_live_session_is_counted_by_its_seconds_and_by_what_it_delegates() {
    each(&[aiortc("live")], |mode, program| {
        let (booked, heard) = speak(mode, program);
        let duration_ms = booked["gpt-live-1.1"].usage.duration_ms;
        assert_eq!(json!(duration_ms as f64 / 1_000.0), heard["seconds"], "{mode:?}: {heard}");
    });
}

#[test]
fn a_limit_in_mid_response_ends_the_call_at_its_provider_and_its_client_sees_that() {
    each(&[PAGE, AGENTS, AIORTC, WERIFT], |mode, program| {
        let stage = stage(mode, LONG, &[("limits.max_total_tokens", "900")]);
        let stopped = run(&stage, program);
        expect_cut(mode, &stopped, "token_limit_reached");
        let tone_ms = heard_ms(&stopped, "tone_ms");
        assert!((200.0..12_000.0).contains(&tone_ms), "{mode:?}: {stopped}");
        // Who is in the way hears the response out before.
        let asked = eventually(PATIENCE, || hangups(&stage), |asked| *asked == 1);
        assert_eq!(asked, 1, "{mode:?}: {stopped}");
        let spent = settled(&stage.proxy, USER);
        match mode.tells {
            // Who is in the way has heard the response out.
            true => drop(agree(&stage.proxy, USER, &stage.provider, "-")),
            false => assert!((900..1_000).contains(&spent.tokens()), "{mode:?}: {spent:?}"),
        }
        assert_eq!(close_codes(&stage, 1), [json!(4004)], "{mode:?}");
    });
}

#[test]
fn all_calls_of_a_user_who_is_blocked_are_ended_at_once() {
    for mode in MODES {
        let stage = &stage(mode, LONG, &[]);
        let mut count = 0;
        thread::scope(|scope| {
            let programs = [PAGE, AIORTC, WERIFT].into_iter().filter(can_be_run);
            let running: Vec<_> = programs.map(|program| scope.spawn(move || run(stage, program))).collect();
            count = running.len();
            // What they have said is written down when they are about to be answered.
            let answered = || stage.provider.audit()["totals"]["transcriptions"].as_u64();
            let all = Some(count as u64);
            assert_eq!(eventually(PATIENCE, answered, |answered| *answered == all), all, "{mode:?}");
            let blocked = Instant::now();
            stage.proxy.post(&format!("/admin/users/{USER}/block"), &json!({"reason": "abuse"}));
            assert_eq!(eventually(PATIENCE, || hangups(stage), |asked| *asked == count), count, "{mode:?}");
            assert!(blocked.elapsed() < Duration::from_secs(1), "{mode:?}: {:?}", blocked.elapsed());
            for running in running {
                expect_cut(mode, &running.join().expect("it tells what it heard"), "user_blocked");
            }
            assert!(blocked.elapsed() < Duration::from_secs(8), "{mode:?}: {:?}", blocked.elapsed());
        });
        settled(&stage.proxy, USER);
        assert_eq!(close_codes(stage, count), vec![json!(4003); count], "{mode:?}");
    }
}
