//! Tokens for browsers: whom they speak for, what they bind a page to, how they end, each in its own words, and that nothing but
//! the token leaves the way that it came.

mod raw;

use raw::{KEY, TEXT, UPGRADE, Upstream, Wire, frame, request as raw_request, switching};
use serde_json::{Value, json};
use tokenist_kit::{Answer, Client, Handshake, PATIENCE, Provider, Scratch, Tokenist, eventually, request};

const OPERATORS_KEY: &str = "sk-operator-key-of-the-tests";
const PAGE: &str = "https://app.example.com";
const SECRETS: &str = "/v1/realtime/client_secrets";
const MODEL: &str = "gpt-realtime";

fn settings<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let ours = [
        ("provider.api_key_env", "OPERATORS_KEY"),
        ("OPERATORS_KEY", OPERATORS_KEY),
        ("browser.origins", PAGE),
    ];
    [&ours[..], more].concat()
}

/// A provider that lets in the operator's key only, and tokenist with that key.
fn start(more: &[(&str, &str)]) -> (Provider, Tokenist) {
    let provider = Provider::start(&["--key", OPERATORS_KEY]);
    let tokenist = Tokenist::start(&provider.origin(), &settings(more));
    (provider, tokenist)
}

fn key_of(tokenist: &Tokenist, user: &str) -> Value {
    let made = tokenist.post("/auth/api-keys", &json!({"name": user, "userId": user}));
    assert_eq!(made.status, 201, "{}", made.body);
    made.json()
}

fn ask(tokenist: &Tokenist, path: &str, key: &str, body: &Value) -> Answer {
    let bearer = format!("Bearer {key}");
    let headers = [("Authorization", &*bearer), ("Content-Type", "application/json"), ("x-user-id", "alice")];
    request(tokenist.listen, "POST", path, &headers, &body.to_string())
}

/// The answer in which a token is given.
#[track_caller]
fn given(tokenist: &Tokenist, key: &str, body: &Value) -> Value {
    let answer = ask(tokenist, SECRETS, key, body);
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")), "{}", answer.body);
    answer.json()
}

fn value(given: &Value) -> &str {
    given["value"].as_str().expect("a token")
}

fn bound(session: &Value) -> Value {
    json!({"session": session})
}

/// As a page dials: it can set nothing but subprotocols, and its browser says where it comes from.
fn page(token: &str, target: &str) -> Handshake {
    Handshake { target: target.to_owned(), headers: Vec::new() }
        .header("Origin", PAGE)
        .header("Sec-WebSocket-Protocol", &format!("realtime, openai-insecure-api-key.{token}"))
}

fn open(tokenist: &Tokenist, token: &str) -> Client {
    Client::open(tokenist.listen, &page(token, "/v1/realtime"))
        .unwrap_or_else(|answer| panic!("{}", answer.body))
}

/// Code and close code of how a handshake is refused in WebSocket terms.
#[track_caller]
fn refusal(tokenist: &Tokenist, handshake: &Handshake) -> (String, u16) {
    let mut client = Client::open(tokenist.listen, handshake).expect("told in WebSocket terms");
    ending(&mut client)
}

#[track_caller]
fn ending(client: &mut Client) -> (String, u16) {
    let (events, close) = client.hear_out();
    let error =
        events.iter().rev().find(|event| event["type"] == "error").expect("an error before the close");
    (error["error"]["code"].as_str().unwrap_or_default().to_owned(), close.expect("a close").0)
}

fn told(code: &str, close_code: u16) -> (String, u16) {
    (code.to_owned(), close_code)
}

#[test]
fn a_page_with_nothing_but_a_token_is_counted_to_its_user_and_learns_no_key() {
    let (provider, tokenist) = start(&[("identity.passthrough", "false")]);
    let made = key_of(&tokenist, "alice");
    let key = made["apiKey"].as_str().unwrap();
    let given = given(&tokenist, key, &bound(&json!({"type": "realtime", "model": MODEL})));
    assert!(value(&given).starts_with("ek_") && given["session"]["model"] == MODEL, "{given}");
    assert_eq!(given["expires_at"].as_u64().map(|at| at > 1_700_000_000), Some(true));

    let mut session = open(&tokenist, value(&given));
    assert_eq!(session.answer.header("sec-websocket-protocol"), Some("realtime"));
    session.turn("").unwrap();
    let heard = format!("{given}{:?}{:?}", session.answer, session.events);
    session.leave();
    let used = || tokenist.get("/admin/users/alice/usage")["usage"]["totalTokens"].clone();
    let total = provider.audit()["totals"]["total_tokens"].clone();
    assert_eq!(eventually(PATIENCE, used, |used| *used == total), total);

    let upstream = provider.audit()["handshakes"].to_string();
    assert_eq!(upstream.matches(OPERATORS_KEY).count(), 1, "{upstream}");
    for ours in ["ek_", "ug_", "alice", "app.example", "insecure"] {
        assert!(!upstream.contains(ours), "{ours} went upstream: {upstream}");
    }
    assert!(upstream.contains(MODEL), "the token's model is asked for where the page names none: {upstream}");
    assert!(!heard.contains(OPERATORS_KEY) && !heard.contains(key), "a page learns no key");
}

#[test]
fn what_a_token_is_bound_to_holds_from_the_start_and_a_page_widens_nothing() {
    let (provider, tokenist) = start(&[]);
    let made = key_of(&tokenist, "alice");
    let key = made["apiKey"].as_str().unwrap();
    let settings =
        json!({"type": "realtime", "model": MODEL, "instructions": "Be brief.", "max_output_tokens": 100});
    let token = value(&given(&tokenist, key, &bound(&settings))).to_owned();

    let mut session = open(&tokenist, &token);
    let updated = session.hear_until("session.updated").unwrap();
    let kept = json!([updated["session"]["instructions"], updated["session"]["max_output_tokens"]]);
    assert_eq!(kept, json!(["Be brief.", 100]), "{updated}");
    session.say(&json!({"type": "session.update", "session": {"type": "realtime", "instructions": "Sing."}}));
    assert_eq!(session.hear_until("session.updated").unwrap()["session"]["instructions"], "Sing.");
    session.turn("").unwrap();
    session.leave();

    for wider in [
        json!({"type": "session.update", "session": {"type": "realtime", "model": "gpt-realtime-2.1"}}),
        json!({"type": "session.update", "session": {"max_output_tokens": "inf"}}),
        json!({"type": "response.create", "response": {"max_output_tokens": 101}}),
    ] {
        let mut session = open(&tokenist, &token);
        session.hear_until("session.updated").unwrap();
        session.say(&wider);
        assert_eq!(ending(&mut session), told("beyond_token", 4003), "{wider}");
    }
    for target in ["/v1/realtime?model=gpt-realtime-2.1", "/v1/realtime?deployment=gpt-realtime-2.1"] {
        assert_eq!(refusal(&tokenist, &page(&token, target)), told("model_not_allowed", 4003), "{target}");
    }
    let two = page(&token, "/v1/realtime?model=gpt-realtime&deployment=gpt-realtime-2.1");
    let answer = Client::open(tokenist.listen, &two).expect_err("it names two models");
    assert!(answer.body.contains("its query names two models"), "{}", answer.body);
    assert_eq!(refusal(&tokenist, &page(&token, "/v1/realtime?call_id=rtc_1")), told("beyond_token", 4003));
    assert!(!provider.audit()["handshakes"].to_string().contains("2.1"), "no other model was asked for");
    // In pieces, and so long that only its end says what it asks for.
    let mut session = open(&tokenist, &token);
    session.send_frame(false, 1, br#"{"type":"session.update","session":{"instructions":""#);
    session.send_frame(false, 0, &vec![b'x'; 1 << 20]);
    session.send_frame(true, 0, br#"","model":"gpt-realtime-2.1"}}"#);
    assert_eq!(ending(&mut session), told("beyond_token", 4003));
}

#[test]
fn a_token_that_opens_nothing_says_why() {
    let (provider, tokenist) = start(&[]);
    let made = key_of(&tokenist, "alice");
    let key = made["apiKey"].as_str().unwrap();
    let mint = |uses: u64| given(&tokenist, key, &json!({"session": {"model": MODEL}, "uses": uses}));
    let one = mint(0);
    let token = value(&one);
    let refused = |token: &str| refusal(&tokenist, &page(token, "/v1/realtime"));
    let flipped = if token.as_bytes()[40] == b'A' { "B" } else { "A" };
    assert_eq!(refused(&format!("{}{flipped}{}", &token[..40], &token[41..])), told("token_altered", 4001));
    assert_eq!(refused("ek_68af296e8e408191a1120ab6383263c2"), told("token_unknown", 4001));
    let other = page(token, "/v1/realtime/translations?model=gpt-realtime-translate");
    assert_eq!(refusal(&tokenist, &other), told("token_out_of_scope", 4001));
    let call = ask(&tokenist, "/v1/responses", token, &json!({"model": MODEL, "input": "x"}));
    assert_eq!((call.status, &call.json()["error"]["code"]), (401, &json!("token_out_of_scope")));
    assert_eq!(ask(&tokenist, SECRETS, token, &json!({})).status, 401, "a token makes no token");

    let twice = mint(2);
    let sessions = [open(&tokenist, value(&twice)), open(&tokenist, value(&twice))];
    assert_eq!(refused(value(&twice)), told("token_used_up", 4001));
    sessions.into_iter().for_each(Client::leave);

    let mut session = open(&tokenist, token);
    session.turn("").unwrap();
    let id = one["token_id"].as_str().unwrap();
    assert_eq!(tokenist.delete(&format!("/admin/browser-tokens/{id}")).status, 200);
    assert_eq!(ending(&mut session), told("token_revoked", 4001), "a session of it ends");
    assert_eq!(refused(token), told("token_revoked", 4001));
    let listed = tokenist.get("/admin/browser-tokens");
    assert_eq!(listed["tokens"][0]["id"], id, "{listed}");

    let (another, blocked) = (mint(0), mint(0));
    assert_eq!(tokenist.post("/admin/users/alice/block", &json!({"reason": "abuse"})).status, 200);
    assert_eq!(refused(value(&blocked)), told("user_blocked", 4003));
    tokenist.post("/admin/users/alice/unblock", &json!({}));
    let id = made["id"].as_str().expect("a key's id");
    assert_eq!(tokenist.delete(&format!("/auth/api-keys/{id}")).status, 200);
    assert_eq!(refused(value(&another)), told("token_revoked", 4001));
    assert!(!provider.audit()["handshakes"].to_string().contains("ek_"));
}

#[test]
fn one_of_many_that_show_a_token_of_one_use_at_once_gets_in() {
    let (provider, tokenist) = start(&[("proxy.shard_count", "2"), ("admission.refuse", "close")]);
    let made = key_of(&tokenist, "alice");
    let token =
        given(&tokenist, made["apiKey"].as_str().unwrap(), &json!({"session": {"model": MODEL}, "uses": 1}));
    let asked: Vec<_> = (0..16)
        .map(|_| {
            let (listen, handshake) = (tokenist.listen, page(value(&token), "/v1/realtime"));
            std::thread::spawn(move || {
                Client::open(listen, &handshake)
                    .expect("told in WebSocket terms")
                    .hear_until("session.created")
                    .is_ok()
            })
        })
        .collect();
    let entered = asked
        .into_iter()
        .filter(|_| true)
        .map(|asked| asked.join().unwrap())
        .filter(|entered| *entered)
        .count();
    assert_eq!((entered, provider.audit()["handshake_count"].as_u64()), (1, Some(1)));
}

#[test]
fn after_a_restart_a_token_without_a_number_goes_on_and_one_with_a_number_does_not() {
    let ledger = Scratch::new();
    let path = ledger.path().join("kept");
    let kept = [("store.path", path.to_str().unwrap())];
    let (provider, tokenist) = start(&kept);
    let made = key_of(&tokenist, "alice");
    let key = made["apiKey"].as_str().unwrap();
    let any = given(&tokenist, key, &json!({"session": {"model": MODEL}}));
    let once = given(&tokenist, key, &json!({"session": {"model": MODEL}, "uses": 1}));
    open(&tokenist, value(&once)).leave();
    tokenist.leave();

    let tokenist = Tokenist::start(&provider.origin(), &settings(&kept));
    open(&tokenist, value(&any)).leave();
    assert_eq!(refusal(&tokenist, &page(value(&once), "/v1/realtime")), told("token_used_up", 4001));
}

#[test]
fn who_may_give_a_page_a_token() {
    let (_provider, tokenist) = start(&[]);
    // The operator's own provider key says whom the token speaks for, as every passthrough does.
    let given = given(&tokenist, OPERATORS_KEY, &bound(&json!({"type": "realtime", "model": MODEL})));
    open(&tokenist, value(&given)).turn("").unwrap();
    let counted = || tokenist.get("/admin/users/alice/usage")["usage"]["totalTokens"].as_u64().unwrap_or(0);
    assert!(eventually(PATIENCE, counted, |counted| *counted > 0) > 0);
    let refused = |tokenist: &Tokenist, key: &str| {
        let answer = ask(tokenist, SECRETS, key, &json!({}));
        (answer.status, answer.json()["error"]["message"].as_str().unwrap_or_default().to_owned())
    };
    let (status, why) = refused(&tokenist, "sk-somebody-elses");
    assert!(status == 403 && why.starts_with("a page's token needs a tokenist key (ug_…)"), "{why}");
    let (status, why) = refused(&tokenist, "ug_0");
    assert!(status == 401 && why.contains("not known"), "{why}");

    let weak = Tokenist::start("http://127.0.0.1:9", &settings(&[("admin.token", "sixteen-characters")]));
    let (status, why) = refused(&weak, OPERATORS_KEY);
    assert!(status == 403 && why.contains("set admin.token to a random one"), "{why}");
    let keyless = Tokenist::start("http://127.0.0.1:9", &[]);
    let made = key_of(&keyless, "alice");
    let (status, why) = refused(&keyless, made["apiKey"].as_str().unwrap());
    assert!(status == 403 && why.contains("provider.api_key_env"), "{why}");
}

#[test]
fn a_request_for_a_token_is_answered_in_the_words_of_its_provider() {
    let (provider, tokenist) = start(&[]);
    let made = key_of(&tokenist, "alice");
    let key = made["apiKey"].as_str().unwrap();
    let beta = ask(&tokenist, "/v1/realtime/sessions", key, &json!({"model": MODEL, "voice": "ash"})).json();
    let token = beta["client_secret"]["value"].as_str().unwrap();
    open(&tokenist, token).hear_until("session.updated").unwrap();
    let xai = ask(&tokenist, SECRETS, key, &json!({"expires_after": {"seconds": 300}})).json();
    assert!(value(&xai).starts_with("ek_"), "{xai}");
    for (path, body, param) in [
        (SECRETS, json!({"expires_after": {"anchor": "created_at", "seconds": 5}}), "expires_after.seconds"),
        (SECRETS, json!({"session": {"instructions": "x".repeat(5_000)}}), "session"),
        ("/v1/realtime/translations/client_secrets", json!({"uses": "many"}), "uses"),
    ] {
        let answer = ask(&tokenist, path, key, &body);
        assert_eq!(
            (answer.status, &answer.json()["error"]["param"]),
            (400, &json!(param)),
            "{}",
            answer.body
        );
    }
    assert_eq!(ask(&tokenist, SECRETS, key, &json!({"x": "x".repeat(70_000)})).status, 413);
    tokenist.ask("PUT", "/admin/limits/user/alice", &json!({"models": ["gpt-realtime-mini"]}));
    let answer = ask(&tokenist, SECRETS, key, &bound(&json!({"type": "realtime", "model": MODEL})));
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (403, &json!("model_not_allowed")));
    assert_eq!(provider.audit()["handshake_count"], 1, "no provider is asked for a token");
}

#[test]
fn a_page_of_a_listed_origin_is_told_what_is_left_and_no_other() {
    let (_provider, tokenist) = start(&[]);
    let made = key_of(&tokenist, "alice");
    let key = made["apiKey"].as_str().unwrap();
    tokenist.ask("PUT", "/admin/limits/user/alice", &json!({"maxCostUsd": 5, "models": ["gpt-realtime*"]}));
    let given = given(&tokenist, key, &bound(&json!({"type": "realtime", "model": MODEL})));
    let bearer = format!("Bearer {}", value(&given));
    let from = |method: &str, origin: &str, more: &[(&str, &str)]| {
        request(tokenist.listen, method, "/v1/usage/me", &[&[("Origin", origin)], more].concat(), "")
    };
    let asks =
        [("Access-Control-Request-Method", "GET"), ("Access-Control-Request-Headers", "authorization")];
    let leave = from("OPTIONS", PAGE, &asks);
    assert_eq!((leave.status, leave.header("access-control-allow-origin")), (204, Some(PAGE)));
    assert_eq!(leave.header("access-control-allow-headers"), Some("authorization"));
    let left = from("GET", PAGE, &[("Authorization", &bearer)]);
    assert_eq!((left.status, left.header("access-control-allow-origin")), (200, Some(PAGE)), "{}", left.body);
    assert!(left.header("access-control-expose-headers").is_some_and(|names| names.contains("retry-after")));
    let told = left.json();
    assert_eq!(
        json!([told["user_id"], told["remaining"]["cost_usd"], told["allowed_models"]]),
        json!(["alice", 5.0, [MODEL]])
    );

    let elsewhere = from("GET", "https://evil.example", &[("Authorization", &bearer)]);
    assert_eq!(
        (elsewhere.header("access-control-allow-origin"), elsewhere.header("vary")),
        (None, Some("Origin"))
    );
    assert_eq!(from("OPTIONS", "https://evil.example", &asks).status, 403);
    // An answer to a request that is refused is read, too.
    let refused = from("GET", PAGE, &[("Authorization", "Bearer ek_1")]);
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (401, Some(PAGE)));
}

#[test]
fn a_page_of_another_origin_opens_no_session() {
    let (_provider, tokenist) = start(&[]);
    let unlisted = Tokenist::start("http://127.0.0.1:9", &settings(&[("browser.origins", "")]));
    let dial = |tokenist: &Tokenist, origin: &str, credential: &str| {
        let handshake = Handshake { target: format!("/v1/realtime?model={MODEL}"), headers: Vec::new() }
            .header("Origin", origin)
            .header("x-user-id", "alice")
            .header("Authorization", &format!("Bearer {credential}"));
        Client::open(tokenist.listen, &handshake).map(drop).map_err(|answer| answer.status)
    };
    let token = |tokenist: &Tokenist| value(&given(tokenist, OPERATORS_KEY, &json!({}))).to_owned();
    let evil = "https://evil.example";
    assert_eq!(dial(&tokenist, evil, OPERATORS_KEY), Err(403));
    assert_eq!(dial(&tokenist, evil, &token(&tokenist)), Err(403));
    assert_eq!(dial(&tokenist, PAGE, OPERATORS_KEY), Ok(()));
    // Some clients that are no browser name the host that they dial.
    assert_eq!(dial(&tokenist, &format!("ws://{}", tokenist.listen), OPERATORS_KEY), Ok(()));
    assert_eq!(dial(&unlisted, evil, &token(&unlisted)), Err(403));
    let answer = dial(&unlisted, evil, OPERATORS_KEY);
    assert!(answer != Err(403), "where no origin is listed and no token is shown nothing is new: {answer:?}");
}

const GEMINI: &str = "/ws/google.ai.generativelanguage.v1alpha.GenerativeService.BidiGenerateContent";

#[test]
fn googles_token_is_shown_in_the_query_and_says_what_the_first_event_sets() {
    let provider = Upstream::start();
    let tokenist = Tokenist::start(&provider.origin(), &settings(&[("provider.dialect", "gemini")]));
    let made = key_of(&tokenist, "alice");
    let setup = json!({"model": "models/gemini-3.8-live", "generationConfig": {"maxOutputTokens": 50}});
    let asked = json!({"bidiGenerateContentSetup": setup, "uses": 1});
    let headers = [("x-goog-api-key", made["apiKey"].as_str().unwrap())];
    let given = request(tokenist.listen, "POST", "/v1alpha/auth_tokens", &headers, &asked.to_string()).json();
    let name = given["name"].as_str().unwrap();
    assert!(name.starts_with("auth_tokens/ek_"), "{given}");

    let dial = |setup: &str| {
        let mut app = Wire::connect(tokenist.listen);
        let target = format!("GET {GEMINI}Constrained?access_token={name}");
        app.send(raw_request(&target, &[&UPGRADE[..], &["Origin: https://app.example.com"]].concat()));
        assert_eq!(app.answer().status, 101);
        app.send(frame(TEXT, setup.as_bytes(), Some(KEY)));
        app
    };
    let mut other = dial(r#"{"setup":{"model":"models/gemini-3.8-pro"}}"#);
    let close = other.frame();
    assert_eq!((close.first, &close.payload[..2]), (raw::CLOSE, &4003u16.to_be_bytes()[..]));

    let _app = dial(
        r#"{"setup":{"model":"models/gemini-3.8-live","generation_config":{"max_output_tokens":9000}}}"#,
    );
    let mut server = provider.accept();
    let head = server.head();
    assert!(head.starts_with(&format!("GET {GEMINI} HTTP/1.1\r\n")), "{head}");
    assert!(head.contains(OPERATORS_KEY) && !head.contains("ek_") && !head.contains("auth_tokens"), "{head}");
    server.send(switching(&[]));
    let said = server.frame();
    let said: Value = serde_json::from_slice(&said.payload).unwrap();
    assert_eq!(said, json!({"setup": setup}));
    let mut again = dial(r#"{"setup":{"model":"models/gemini-3.8-live"}}"#);
    assert_eq!(again.frame().payload[..2], 4001u16.to_be_bytes());
}
