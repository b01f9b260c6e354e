//! Several providers behind one port: by path, by model, by name; their keys; and a tokenist key in front of a path.

mod raw;

use raw::*;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokenist_kit::{PATIENCE, Tokenist, eventually};

const BEARER: &str = "Authorization: Bearer sk-test";
const ALICE: &str = "x-user-id: alice";

/// A proxy before both, of which the second serves what begins with `mini`.
fn start_two(first: &Upstream, second: &Upstream, settings: &[(&str, &str)]) -> Tokenist {
    let file = format!(
        "[[provider]]\n[[provider]]\nname = \"second\"\nbase_url = \"{}\"\nmodels = \"mini*, exact\"\n\
         api_key_env = \"SECOND_KEY\"\n",
        second.origin()
    );
    start(&first.origin(), &[&[("file", &*file), ("admission.refuse", "close")], settings].concat())
}

fn dial(proxy: &Tokenist, target: &str, headers: &[&str]) -> Wire {
    let mut app = Wire::connect(proxy.listen);
    app.send(request(&format!("GET {target}"), &[&UPGRADE[..], headers].concat()));
    app
}

/// Whose connection comes, with the head that it got.
fn dialled<'a>(upstreams: &[(&'a str, &Upstream)]) -> (&'a str, String) {
    let started = Instant::now();
    loop {
        for (name, upstream) in upstreams {
            if let Some(mut wire) = upstream.poll() {
                let head = wire.head();
                wire.send(switching(&[]));
                return (name, head);
            }
        }
        assert!(started.elapsed() < PATIENCE, "the proxy does not dial");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_session_goes_where_its_path_and_model_say() {
    let (first, second) = (Upstream::start(), Upstream::start());
    let proxy = start_two(&first, &second, &[]);
    let both = [("first", &first), ("second", &second)];
    for (target, wanted, path) in [
        ("/v1/realtime?model=gpt-realtime", "first", "/v1/realtime?model=gpt-realtime"),
        ("/realtime?model=gpt-realtime", "first", "/v1/realtime?model=gpt-realtime"),
        ("/v1/realtime", "first", "/v1/realtime"),
        ("/v1/realtime?model=mini-2", "second", "/v1/realtime?model=mini-2"),
        ("/v1/realtime?model=exact", "second", "/v1/realtime?model=exact"),
        ("/openai/realtime?deployment=exact", "second", "/openai/realtime?deployment=exact"),
        ("/p/second/v1/realtime?model=exact", "second", "/v1/realtime?model=exact"),
        ("/p/second/realtime", "second", "/v1/realtime"),
        ("//p//openai/v1/realtime?model=mini", "first", "/v1/realtime?model=mini"),
    ] {
        let mut app = dial(&proxy, target, &[BEARER, ALICE]);
        let (name, head) = dialled(&both);
        assert_eq!(
            (name, head.lines().next().unwrap()),
            (wanted, &*format!("GET {path} HTTP/1.1")),
            "{target}"
        );
        assert_eq!(app.answer().status, 101, "{target}");
    }
}

#[test]
fn a_model_that_is_not_served_and_a_provider_that_there_is_not_are_named() {
    let (first, second) = (Upstream::start(), Upstream::start());
    let proxy = start_two(&first, &second, &[("provider.models", "gpt-realtime*")]);
    let mut app = dial(&proxy, "/v1/realtime?model=other", &[BEARER, ALICE]);
    assert_eq!(app.answer().status, 101);
    let event: Value = serde_json::from_slice(&app.frame().payload).unwrap();
    assert_eq!(
        event["error"],
        json!({"type": "account_deactivated", "code": "model_not_allowed", "param": "model",
            "message": "Model other is not allowed; allowed: gpt-realtime*, mini*, exact", "model": "other",
            "allowed_models": ["gpt-realtime*", "mini*", "exact"]})
    );
    assert_eq!(app.frame().close_code(), 4003);
    let answer = dial(&proxy, "/p/third/v1/realtime", &[BEARER, ALICE]).answer();
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((answer.status, &body["error"]["code"]), (404, &json!("unknown_provider")));
    assert!(body["error"]["message"].as_str().unwrap().ends_with("there is openai, second"), "{body}");
    assert!(first.poll().is_none() && second.poll().is_none(), "nothing went up");
}

#[test]
fn a_model_that_changes_in_mid_session_is_judged_as_what_it_becomes() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[("provider.models", "gpt-realtime")]);
    let (mut app, mut server) = provider.session(proxy.listen);
    let states = |event: &str, model: &str| {
        let event = json!({"type": event, "session": {"model": model}}).to_string();
        frame(TEXT, event.as_bytes(), None)
    };
    // What the provider calls the model that was asked for is that one.
    let created = states("session.created", "gpt-realtime-2025-08-28");
    server.send(&created);
    app.expect(&created, "the greeting");
    let same = states("session.updated", "gpt-realtime-2025-08-28");
    server.send(&same);
    app.expect(&same, "nothing changes");
    let other = states("session.updated", "gpt-realtime-dear");
    server.send(&other);
    app.expect(&other, "what changes");
    assert_eq!(app.refusal(), ("model_not_allowed".to_owned(), 4003));
}

/// Sets what a holder's sessions may use; of nothing, anything.
fn allow(proxy: &Tokenist, holder: &str, models: &[&str]) {
    let path = format!("/admin/limits/{holder}");
    let set = match models {
        [] => proxy.delete(&path),
        models => proxy.ask("PUT", &path, &json!({"models": models})),
    };
    assert_eq!(set.status, 200, "{set:?}");
}

/// What a session is told that ends because of its model: which it is, and which may be used.
fn told_of_model(app: &mut Wire) -> (Value, Value) {
    let event: Value = serde_json::from_slice(&app.frame().payload).unwrap();
    assert_eq!(event["error"]["code"], "model_not_allowed", "{event}");
    assert_eq!(app.frame().close_code(), 4003);
    (event["error"]["model"].clone(), event["error"]["allowed_models"].clone())
}

#[test]
fn a_model_has_to_be_allowed_by_every_holder_from_the_start_on_and_after_a_restart() {
    let provider = Upstream::start();
    let folder = tokenist_kit::Scratch::new();
    let path = folder.path().join("ledger");
    let settings = [
        ("store.path", path.to_str().unwrap()),
        ("provider.models", "gpt-realtime*, whisper-1"),
        ("provider.api_key_env", "A_KEY"),
        ("A_KEY", "sk-operator"),
        ("admission.refuse", "close"),
    ];
    let proxy = start(&provider.origin(), &settings);
    let made = proxy.post("/auth/api-keys", &json!({"name": "ci"})).json();
    let key = format!("Authorization: Bearer {}", made["apiKey"].as_str().unwrap());
    allow(&proxy, "user/alice", &["gpt-realtime", "gpt-realtime-2*", "gpt-5"]);
    allow(&proxy, "org/acme", &["gpt-*"]);
    allow(&proxy, "feature/voice", &["gpt-realtime-2.1*", "gpt-realtime"]);
    allow(&proxy, &format!("key/{}", made["id"].as_str().unwrap()), &["gpt-realtime-2.1-mini"]);
    let holds = |proxy: &Tokenist| {
        for (model, headers, allowed) in [
            ("gpt-realtime", &[BEARER, ALICE][..], None),
            ("gpt-realtime-2.1", &[BEARER, ALICE, "x-org-id: acme"], None),
            ("gpt-realtime-2.1-mini", &[&key, ALICE, "x-org-id: acme", "x-feature: voice"], None),
            ("whisper-1", &[BEARER, "x-user-id: bob"], None),
            ("gpt-realtime-dear", &[BEARER, ALICE], Some(&["gpt-realtime", "gpt-realtime-2*"][..])),
            ("gpt-5", &[BEARER, ALICE], Some(&["gpt-realtime", "gpt-realtime-2*"])),
            ("whisper-1", &[BEARER, "x-user-id: bob", "x-org-id: acme"], Some(&["gpt-realtime*"])),
            (
                "gpt-realtime-2",
                &[BEARER, ALICE, "x-feature: voice"],
                Some(&["gpt-realtime", "gpt-realtime-2.1*"]),
            ),
            ("gpt-realtime", &[&key, ALICE], Some(&["gpt-realtime-2.1-mini"])),
        ] {
            let mut app = dial(proxy, &format!("/v1/realtime?model={model}"), headers);
            let _server = allowed.is_none().then(|| {
                let mut server = provider.accept();
                server.head();
                server.send(switching(&[]));
                server
            });
            assert_eq!(app.answer().status, 101, "{model}");
            if let Some(allowed) = allowed {
                assert_eq!(told_of_model(&mut app), (json!(model), json!(allowed)), "{headers:?}");
            }
        }
        assert!(provider.poll().is_none(), "of what is refused nothing goes up");
    };
    holds(&proxy);
    proxy.leave();
    holds(&start(&provider.origin(), &settings));
}

#[test]
fn a_list_of_models_holds_for_what_a_live_session_changes_to_and_a_changed_list_for_live_sessions() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[]);
    let states = |event: &str, model: &str| {
        let event = json!({"type": event, "session": {"model": model}}).to_string();
        frame(TEXT, event.as_bytes(), None)
    };
    let begin = |target: &str, called: &str| {
        let mut app = dial(&proxy, target, &[BEARER, ALICE]);
        let mut server = provider.accept();
        server.head();
        server.send(switching(&[]));
        assert_eq!(app.answer().status, 101);
        server.send(states("session.created", called));
        app.expect(&states("session.created", called), "the greeting");
        (app, server)
    };
    let becomes = |server: &mut Wire, app: &mut Wire, model: &str| {
        let update = json!({"type": "session.update", "session": {"model": model}}).to_string();
        app.send(frame(TEXT, update.as_bytes(), Some(KEY)));
        server.frame();
        server.send(states("session.updated", model));
        app.expect(&states("session.updated", model), "the provider's word");
    };
    allow(&proxy, "user/alice", &["gpt-realtime", "gpt-realtime-mini"]);
    // A greeting by the very name that was asked for leaves no room for another one.
    for called in ["gpt-realtime", "gpt-realtime-2025-08-28"] {
        let (mut app, mut server) = begin("/v1/realtime?model=gpt-realtime", called);
        becomes(&mut server, &mut app, "gpt-realtime-mini");
        becomes(&mut server, &mut app, "gpt-realtime-dear");
        let allowed = json!(["gpt-realtime", "gpt-realtime-mini"]);
        assert_eq!(told_of_model(&mut app), (json!("gpt-realtime-dear"), allowed), "{called}");
    }
    // A model that only the greeting names is judged by it.
    let (mut app, _server) = begin("/v1/realtime?call_id=rtc_1", "gpt-realtime-dear");
    assert_eq!(told_of_model(&mut app).0, "gpt-realtime-dear");

    let (mut stays, mut server) = begin("/v1/realtime?model=gpt-realtime", "gpt-realtime-2025-08-28");
    let (mut goes, _goes_up) = begin("/v1/realtime?model=gpt-realtime-mini", "gpt-realtime-mini");
    allow(&proxy, "user/alice", &["gpt-realtime"]);
    assert_eq!(told_of_model(&mut goes), (json!("gpt-realtime-mini"), json!(["gpt-realtime"])));
    allow(&proxy, "user/alice", &[]);
    becomes(&mut server, &mut stays, "gpt-realtime-dear");
    allow(&proxy, "user/alice", &["gpt-realtime-d*"]);
    becomes(&mut server, &mut stays, "gpt-realtime-dearest");
    allow(&proxy, "user/alice", &["gpt-realtime"]);
    assert_eq!(told_of_model(&mut stays).0, "gpt-realtime-dearest");
}

#[test]
fn a_model_without_a_price_is_refused_where_that_is_wished_and_then_nothing_is_dialled() {
    let (first, second) = (Upstream::start(), Upstream::start());
    let proxy = start_two(&first, &second, &[("metering.refuse_unknown_models", "true")]);
    for model in ["tomorrows", "mini-tomorrows"] {
        let mut app = dial(&proxy, &format!("/v1/realtime?model={model}"), &[BEARER, ALICE]);
        assert_eq!(app.answer().status, 101);
        let event: Value = serde_json::from_slice(&app.frame().payload).unwrap();
        assert_eq!(
            (&event["error"]["code"], &event["error"]["message"]),
            (
                &json!("model_not_allowed"),
                &json!(format!("Model {model} is not allowed: no price is known for it"))
            )
        );
        assert_eq!(app.frame().close_code(), 4003);
    }
    assert!(first.poll().is_none() && second.poll().is_none(), "nothing went up");
    // A session that becomes one of such a model.
    let (mut app, mut server) = first.session(proxy.listen);
    let created =
        json!({"type": "session.created", "session": {"model": "gpt-realtime-2026-08-28"}}).to_string();
    let created = frame(TEXT, created.as_bytes(), None);
    server.send(&created);
    app.expect(&created, "a dated name has its model's price");
    let updated = json!({"type": "session.updated", "session": {"model": "tomorrows"}}).to_string();
    let updated = frame(TEXT, updated.as_bytes(), None);
    server.send(&updated);
    app.expect(&updated, "what changes");
    assert_eq!(app.refusal(), ("model_not_allowed".to_owned(), 4003));
}

#[test]
fn keys_take_turns_and_one_that_is_refused_rests() {
    let provider = Upstream::start();
    let keys = [
        ("provider.api_key_env", "FIRST_KEY, SECOND_KEY"),
        ("FIRST_KEY", "sk-first"),
        ("SECOND_KEY", "sk-second"),
    ];
    let proxy = start(&provider.origin(), &keys);
    let made = proxy.post("/admin/users", &json!({"userId": "alice"})).json();
    let key = format!("Authorization: Bearer {}", made["apiKey"].as_str().unwrap());
    let shown = |wire: &mut Wire| {
        let head = wire.head();
        let line = head.lines().find(|line| line.starts_with("Authorization")).unwrap();
        line.rsplit(' ').next().unwrap().to_owned()
    };
    let serve = || {
        let mut app = dial(&proxy, "/v1/realtime", &[&key]);
        let mut server = provider.accept();
        let shown = shown(&mut server);
        server.send(switching(&[]));
        assert_eq!(app.answer().status, 101);
        shown
    };
    assert_eq!([0; 3].map(|_| serve()), ["sk-first", "sk-second", "sk-first"]);
    // The second is refused: the session is served with the first, and so are the next ones.
    let mut app = dial(&proxy, "/v1/realtime", &[&key]);
    let mut refusing = provider.accept();
    assert_eq!(shown(&mut refusing), "sk-second");
    refusing.send("HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let mut serving = provider.accept();
    assert_eq!(shown(&mut serving), "sk-first");
    serving.send(switching(&[]));
    assert_eq!(app.answer().status, 101);
    assert_eq!([0; 2].map(|_| serve()), ["sk-first", "sk-first"]);
    // Where all are refused, the provider's last word is passed on, without the key.
    let mut app = dial(&proxy, "/v1/realtime", &[&key]);
    for _ in 0..2 {
        let mut refusing = provider.accept();
        let key = shown(&mut refusing);
        let body = format!("no: {key}");
        refusing.send(format!("HTTP/1.1 401 Unauthorized\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    }
    let answer = app.answer();
    assert_eq!(answer.status, 401);
    assert!(answer.body.starts_with("no: ***") && !answer.body.contains("sk-"), "{}", answer.body);
}

#[test]
fn a_key_in_front_of_the_path_speaks_for_its_user_and_shows_nowhere() {
    let provider = Upstream::start();
    let keys = [("provider.api_key_env", "A_KEY"), ("A_KEY", "sk-operator"), ("log.level", "trace")];
    let proxy = start(&provider.origin(), &[&keys[..], &[("admission.refuse", "close")]].concat());
    let made = |user: &str| {
        let made = proxy.post("/admin/users", &json!({"userId": user})).json();
        made["apiKey"].as_str().unwrap().to_owned()
    };
    let (alice, bob) = (made("alice"), made("bob"));
    for (target, headers) in [
        (format!("/k/{alice}/v1/realtime?model=m"), vec![]),
        (
            format!("//k/{alice}//v1/realtime?model=m&key=dummy"),
            vec!["Authorization: Bearer sk-dummy", "api-key: x"],
        ),
        (
            format!("/k/{alice}/p/openai/realtime?model=m"),
            vec!["Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.sk-d"],
        ),
        (format!("/k/{alice}/realtime?model=m"), vec![ALICE]),
    ] {
        let mut app = dial(&proxy, &target, &headers);
        let mut server = provider.accept();
        let head = server.head();
        assert!(head.starts_with("GET /v1/realtime?model=m HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("Authorization: Bearer sk-operator\r\n"), "{head}");
        for secret in [&*alice, "dummy", "insecure", "api-key"] {
            assert!(!head.contains(secret), "{secret} in {head}");
        }
        server.send(switching(&[]));
        assert_eq!(app.answer().status, 101);
        let sessions = || proxy.get("/admin/sessions")["sessions"].clone();
        let seen = eventually(PATIENCE, sessions, |sessions| sessions[0]["userId"] == "alice");
        assert_eq!(seen[0]["userId"], "alice");
    }
    let usage =
        tokenist_kit::request(proxy.listen, "GET", &format!("/k/{alice}/v1/usage/me"), &[], "").json();
    assert_eq!(usage["user_id"], "alice");
    for (target, headers, why) in [
        (
            format!("/k/{alice}/v1/realtime"),
            vec![format!("Authorization: Bearer {bob}")],
            "two different tokenist keys",
        ),
        ("/k/sk-other/v1/realtime".to_owned(), vec![], "no tokenist key"),
        (format!("/v1/{alice}/v1/realtime"), vec![], "in front of the path"),
    ] {
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let mut app = dial(&proxy, &target, &headers);
        assert_eq!(app.answer().status, 101, "{target}");
        let event = String::from_utf8(app.frame().payload).unwrap();
        assert!(event.contains(why) && !event.contains(&alice) && !event.contains(&bob), "{event}");
        assert_eq!(app.frame().close_code(), 4001);
    }
    // A path that leads nowhere is told without its key.
    let answer = dial(&proxy, &format!("/k/{alice}/v1/nowhere"), &[]).answer();
    assert!(answer.status == 404 && !answer.body.contains(&alice), "{answer:?}");
    assert!(!proxy.metrics().contains(&alice[3..]));
    assert!(!proxy.leave().contains(&alice[3..]));
}

#[test]
fn a_provider_that_greets_and_fails_again_and_again_is_told_in_http() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[]);
    for code in [1011, 1012, 1013, 1011] {
        let (mut app, mut server) = provider.session(proxy.listen);
        server.send(frame(TEXT, b"{\"type\":\"session.created\"}", None));
        server.send(close(code, "try again", None));
        app.frame();
        assert_eq!(app.frame().close_code(), code);
        app.send(close(code, "", Some(KEY)));
        app.rest();
    }
    let refused = || dial(&proxy, "/v1/realtime?model=gpt-realtime", &[BEARER, ALICE]);
    let mut app = eventually(PATIENCE, refused, |_| provider.poll().is_none());
    let answer = app.answer();
    assert_eq!(answer.status, 502, "{answer:?}");
    assert!(answer.body.contains("upstream_failed"), "{}", answer.body);
    // Another user's sessions go on.
    let mut other = dial(&proxy, "/v1/realtime", &[BEARER, "x-user-id: bob"]);
    let mut server = provider.accept();
    server.head();
    server.send(switching(&[]));
    assert_eq!(other.answer().status, 101);
}

#[test]
fn a_refusals_close_waits_a_little_and_a_long_wait_is_no_retry() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[("limits.max_cost_usd", "0"), ("limits.window", "monthly")]);
    let mut answer = None;
    for round in 0..5 {
        let mut app = dial(&proxy, "/v1/realtime", &[BEARER, ALICE]);
        let came = app.answer();
        if came.status != 101 {
            answer = Some(came);
            break;
        }
        let event = app.frame();
        let told_at = Instant::now();
        assert_eq!((event.first, app.frame().close_code()), (TEXT, 4004), "{round}");
        assert!(told_at.elapsed() >= Duration::from_millis(150), "the close came with the event");
    }
    let answer = answer.expect("the fourth is told in HTTP");
    assert_eq!(answer.status, 429);
    assert!(
        answer.head.contains("Retry-After: ") && answer.head.contains("x-should-retry: false"),
        "{}",
        answer.head
    );
}
