//! Who is let in, and what the admin plane bears from clients that mean it no good.

mod kit;

use kit::{Plane, TOKEN, ask_with, send};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use tokenist_core::client::TrustedProxies;

#[test]
fn only_the_operator_is_let_in() {
    let plane = Plane::start();
    let right = format!("Bearer {TOKEN}");
    let lower = format!("bearer  {TOKEN}");
    let longer = format!("Bearer {TOKEN}0");
    let basic = format!("Basic {TOKEN}");
    let spaced = format!("Bearer {TOKEN} {TOKEN}");
    let (missing, malformed) = ("Authorization header required", "Invalid API key format");
    for (authorization, refusal) in [
        (None, Some(missing)),
        (Some(""), Some(missing)),
        (Some(basic.as_str()), Some(missing)),
        (Some(TOKEN), Some(missing)),
        (Some("Bearer"), Some(malformed)),
        (Some("Bearer "), Some(malformed)),
        (Some("Bearer short"), Some(malformed)),
        (Some(&spaced), Some(malformed)),
        (Some("Bearer żółty-żółw-żółty-żółw"), Some(malformed)),
        (Some(&longer), Some("Invalid API key")),
        (Some(&right), None),
        (Some(&lower), None),
    ] {
        let headers: Vec<_> = authorization.map(|value| ("authorization", value)).into_iter().collect();
        for path in
            ["/admin/users", "/admin/users/alice/usage", "/admin/blocked", "/admin/sessions", "/metrics"]
        {
            let answer = ask_with(plane.address(), "GET", path, &headers, "");
            match refusal {
                Some(error) => {
                    assert_eq!(
                        (answer.status, answer.json()),
                        (401, json!({"error": error})),
                        "{authorization:?}"
                    );
                    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
                }
                None => assert_eq!(answer.status, 200, "{authorization:?} {path}"),
            }
        }
    }
    for path in ["/admin/users/alice/block", "/admin/users/alice/unblock", "/admin/users/alice/threshold"] {
        assert_eq!(ask_with(plane.address(), "POST", path, &[], "{}").status, 401);
    }
    assert_eq!(ask_with(plane.address(), "DELETE", "/admin/sessions/nonsense", &[], "").status, 401);
    let listed = plane.ask("GET", "/admin/users", "").json();
    assert_eq!(listed["users"], json!([]), "nobody without the token changed anything");
}

#[test]
fn a_key_opens_what_its_scopes_say() {
    let plane = Plane::start();
    let key = |scopes: &[&str]| {
        let created = plane.created("/auth/api-keys", &json!({"name": "k", "scopes": scopes}));
        created["apiKey"].as_str().unwrap().to_owned()
    };
    let admin_forbidden = "This API key does not have the admin scope: use one that was created with \
        \"scopes\": [\"admin\"], or the operator's token";
    let sdk_forbidden = "This API key has neither the sdk nor the admin scope: use one that was created with \
        \"scopes\": [\"sdk\"]";
    for (scopes, admin, sdk) in [
        (&["proxy"][..], 403, 403),
        (&["sdk"], 403, 200),
        (&["proxy", "sdk"], 403, 200),
        (&["admin"], 200, 200),
    ] {
        let key = key(scopes);
        let bearer = format!("Bearer {key}");
        let ask = |method: &str, path: &str, body: &str| {
            ask_with(plane.address(), method, path, &[("authorization", &bearer)], body)
        };
        for path in ["/admin/users", "/admin/orgs/acme/summary", "/auth/api-keys", "/metrics"] {
            let answer = ask("GET", path, "");
            assert_eq!(answer.status, admin, "{scopes:?} {path}");
            if admin == 403 {
                assert_eq!(answer.json(), json!({"error": admin_forbidden}));
            }
        }
        let call = json!({"userId": "alice", "model": "gpt-4o", "requestType": "chat"}).to_string();
        let answer = ask("POST", "/sdk/check", &call);
        assert_eq!(answer.status, sdk, "{scopes:?}");
        if sdk == 403 {
            assert_eq!(answer.json(), json!({"error": sdk_forbidden}));
        }
    }
    assert_eq!(plane.ask("POST", "/sdk/check", "{}").status, 400, "the operator's token opens everything");
    assert_eq!(ask_with(plane.address(), "POST", "/sdk/check", &[], "{}").status, 401);
}

#[test]
fn keys_that_nobody_made_are_guesses() {
    let plane = Plane::start();
    let guess = |n: u32| plane.ask_by(&format!("ug_{n:064x}"), "POST", "/sdk/check", "{}");
    assert!((0..10).all(|n| guess(n).status == 401));
    assert_eq!(guess(10).status, 429);
}

#[test]
fn guessing_ends_in_429() {
    let plane = Plane::start();
    let guess = |n: u32| {
        let guess = format!("Bearer guess-number-{n:06}");
        ask_with(plane.address(), "GET", "/admin/users", &[("authorization", &guess)], "")
    };
    assert!((0..10).all(|n| guess(n).status == 401));
    let refused = guess(10);
    assert_eq!(refused.status, 429);
    assert_eq!(refused.json(), json!({"error": "Too many wrong credentials, try again later"}));
    let seconds = refused.header("retry-after").and_then(|seconds| seconds.parse::<u32>().ok());
    assert!(seconds.is_some_and(|seconds| (1..=10).contains(&seconds)));
    assert_eq!(ask_with(plane.address(), "GET", "/health", &[], "").status, 200);
}

#[test]
fn who_is_good_passes_where_others_are_bad() {
    let plane = Plane::start();
    let key = |scopes: &[&str]| {
        let made = plane.created("/auth/api-keys", &json!({"name": "k", "scopes": scopes}));
        (made["apiKey"].as_str().unwrap().to_owned(), made["id"].as_str().unwrap().to_owned())
    };
    let (good, _) = key(&["sdk"]);
    let revoked: Vec<String> = (0..14)
        .map(|_| {
            let (key, id) = key(&["sdk"]);
            assert_eq!(plane.ask("DELETE", &format!("/auth/api-keys/{id}"), "").status, 200);
            key
        })
        .collect();
    let call = json!({"userId": "alice", "model": "gpt-4o", "requestType": "chat"}).to_string();
    let check = |key: &str| plane.ask_by(key, "POST", "/sdk/check", &call).status;
    let mut refused = Vec::new();
    for _ in 0..5 {
        for key in &revoked {
            refused.push(check(key));
            assert_eq!(check(&good), 200, "a good key behind the same address");
            assert_eq!(plane.ask("GET", "/admin/users", "").status, 200, "and the operator");
        }
    }
    assert!(refused[..10].iter().all(|status| *status == 401), "{refused:?}");
    assert!(refused[10..].iter().all(|status| *status == 429), "what is bad has to wait: {refused:?}");
    let session = json!({"token": TOKEN}).to_string();
    assert_eq!(ask_with(plane.address(), "POST", "/auth/session", &[], &session).status, 200);
}

#[test]
fn clients_behind_a_trusted_proxy_are_told_apart() {
    let behind = |list| Plane::start_with(|config| config.trusted_proxies = trusted(list));
    let guess = |plane: &Plane, client: &str, n: u32| {
        let guess = format!("Bearer guess-number-{n:06}");
        let headers = [("authorization", guess.as_str()), ("x-forwarded-for", client)];
        ask_with(plane.address(), "GET", "/admin/users", &headers, "").status
    };
    let plane = behind("127.0.0.0/8, 10.0.0.0/8");
    assert!((0..10).all(|n| guess(&plane, "203.0.113.7", n) == 401));
    assert_eq!(
        guess(&plane, "6.6.6.6, 203.0.113.7, 10.0.0.1", 10),
        429,
        "what stands before it is anybody's word"
    );
    assert_eq!(guess(&plane, "203.0.113.8", 11), 401);
    let plane = behind("10.0.0.0/8");
    assert!((0..10).all(|n| guess(&plane, &format!("203.0.113.{n}"), n) == 401));
    assert_eq!(guess(&plane, "203.0.113.99", 10), 429, "nobody vouches for these");
}

#[test]
fn a_balancer_announces_its_client_or_is_closed() {
    let plane = Plane::start_with(|config| {
        (config.proxy_protocol, config.trusted_proxies, config.request_ms) =
            (true, trusted("127.0.0.1"), 1000);
    });
    let exchange = |start: &[u8]| {
        let mut stream = TcpStream::connect(plane.address()).unwrap();
        let request = "GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        stream.write_all(&[start, request.as_bytes()].concat()).unwrap();
        let mut answer = Vec::new();
        // Closed with what it did not read, which may be told as a reset.
        stream.read_to_end(&mut answer).ok();
        String::from_utf8_lossy(&answer).into_owned()
    };
    let signature = b"\r\n\r\n\0\r\nQUIT\n";
    for start in [
        &b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 80\r\n"[..],
        b"PROXY UNKNOWN\r\n",
        &[&signature[..], b"\x21\x11\0\x0c", &[203, 0, 113, 7, 127, 0, 0, 1, 1, 2, 0, 80]].concat(),
        &[&signature[..], b"\x20\0\0\0"].concat(),
    ] {
        assert!(exchange(start).starts_with("HTTP/1.1 200"), "{start:?}");
    }
    for start in [&b""[..], b"PROXY TCP4 nonsense\r\n", b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0"] {
        assert_eq!(exchange(start), "", "{start:?}");
    }
    // One that never ends its header does not keep its connection.
    let mut silent = TcpStream::connect(plane.address()).unwrap();
    silent.write_all(b"PROXY ").unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
}

fn trusted(list: &str) -> TrustedProxies {
    TrustedProxies::parse(list).unwrap()
}

#[test]
fn metrics_can_be_opened_to_scrapers() {
    let plane = Plane::start_with(|config| config.metrics_open = true);
    assert_eq!(ask_with(plane.address(), "GET", "/metrics", &[], "").status, 200);
    assert_eq!(ask_with(plane.address(), "GET", "/admin/users", &[], "").status, 401);
}

#[test]
fn browsers_are_told_which_origins_may() {
    let plane = Plane::start_with(|config| config.cors_origins = vec!["https://ops.example.com".into()]);
    let ask = |method: &str, origin: &str| {
        let headers = [("origin", origin), ("access-control-request-method", "POST")];
        ask_with(plane.address(), method, "/admin/users/alice/block", &headers, "")
    };
    let preflight = ask("OPTIONS", "https://ops.example.com");
    assert_eq!((preflight.status, preflight.body.as_str()), (204, ""));
    assert_eq!(preflight.header("access-control-allow-origin"), Some("https://ops.example.com"));
    assert_eq!(preflight.header("access-control-allow-headers"), Some("authorization, content-type"));
    assert!(preflight.header("access-control-allow-methods").is_some_and(|methods| methods.contains("POST")));
    let refused = ask("POST", "https://ops.example.com");
    assert_eq!(
        (refused.status, refused.header("access-control-allow-origin")),
        (401, Some("https://ops.example.com"))
    );

    let stranger = ask("OPTIONS", "https://evil.example");
    assert_eq!((stranger.status, stranger.header("access-control-allow-origin")), (204, None));
}

#[test]
fn no_answer_is_sniffed_or_stored() {
    let plane = Plane::start();
    for path in ["/admin/users", "/health", "/nothing"] {
        let answer = plane.ask("GET", path, "");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
    }
}

#[test]
fn a_body_is_bounded() {
    let plane = Plane::start();
    let fits = format!("{{\"x\":\"{}\"}}", "x".repeat(64 * 1024 - 8));
    assert_eq!(plane.ask("POST", "/admin/users/alice/block", &fits).status, 400, "it is read");
    let refused = plane.ask("POST", "/admin/users/alice/block", &(fits + " "));
    assert_eq!((refused.status, refused.json()), (413, json!({"error": "Request body is too large"})));
}

#[test]
fn a_head_is_bounded() {
    let plane = Plane::start();
    let bomb = format!("GET /health HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(100_000));
    assert!(send(plane.address(), bomb.as_bytes()).starts_with("HTTP/1.1 431"));
    assert!(send(plane.address(), b"nonsense\r\n\r\n").starts_with("HTTP/1.1 400"));
}

#[test]
fn slow_clients_are_cut_off() {
    let plane = Plane::start_with(|config| config.request_ms = 300);
    let begun = Instant::now();
    assert_eq!(send(plane.address(), b"GET /health HTTP/1.1\r\nhost: "), "");
    let half = format!(
        "POST /admin/users/alice/block HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: 9\r\n\r\n{{"
    );
    let answer = send(plane.address(), half.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.ends_with(r#"{"error":"The request took too long"}"#), "{answer}");
    let idle = send(plane.address(), b"GET /health HTTP/1.1\r\nhost: t\r\n\r\n");
    assert!(idle.starts_with("HTTP/1.1 200"), "an idle connection is closed after its answer: {idle}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

/// A connection that has sent so much and reads only so long.
fn begun(plane: &Plane, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(plane.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(bytes).unwrap();
    stream
}

fn first_line(mut stream: TcpStream) -> String {
    let mut line = [0; 12];
    stream
        .read_exact(&mut line)
        .map_or_else(|_| String::new(), |()| String::from_utf8_lossy(&line).into_owned())
}

#[test]
fn who_only_keeps_us_waiting_loses_its_place_to_a_newcomer() {
    let plane = Plane::start_with(|config| (config.connection_max, config.request_ms) = (16, 60_000));
    let open = |bytes: &[u8]| begun(&plane, bytes);
    let key = plane.created("/auth/api-keys", &json!({"name": "k", "scopes": ["sdk"]}));
    let key = key["apiKey"].as_str().unwrap();
    let endless = format!(
        "POST /sdk/log HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {key}\r\ncontent-length: 1000000\r\n\r\n{{"
    );
    let idle = format!("GET /auth/me HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {TOKEN}\r\n\r\n");
    for bytes in [
        &b""[..],
        b"GET /health HTTP/1.1\r\nhost: ",
        b"POST /auth/login HTTP/1.1\r\nhost: t\r\ncontent-length: 60000\r\n\r\n{",
        b"POST /auth/login HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{",
        b"GET /health HTTP/1.1\r\nhost: t\r\n\r\n",
        endless.as_bytes(),
        idle.as_bytes(),
    ] {
        let held: Vec<_> = (0..40).map(|_| open(bytes)).collect();
        for _ in 0..5 {
            let answer = plane.ask("GET", "/auth/me", "");
            assert_eq!(answer.status, 200, "behind forty of {:?}", String::from_utf8_lossy(bytes));
        }
        drop(held);
    }
}

#[test]
fn who_shows_no_credential_has_three_seconds_and_who_does_has_more() {
    let plane = Plane::start_with(|config| config.request_ms = 60_000);
    let half = format!(
        "POST /admin/users/a/block HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: 2\r\n\r\n{{"
    );
    let began = Instant::now();
    let mut known = begun(&plane, half.as_bytes());
    let guests = [
        &b""[..],
        b"GET /health HTTP/1.1\r\nhost: ",
        b"POST /auth/login HTTP/1.1\r\nhost: t\r\ncontent-length: 9\r\n\r\n{",
        b"GET /health HTTP/1.1\r\nhost: t\r\n\r\n",
    ];
    for mut guest in guests.map(|bytes| begun(&plane, bytes)) {
        // Closed with what it did not read, which may be told as a reset.
        guest.read_to_end(&mut Vec::new()).ok();
    }
    assert!((3..30).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    known.write_all(b"}").unwrap();
    assert_eq!(first_line(known), "HTTP/1.1 200");
}

#[test]
fn where_everybody_is_served_a_newcomer_waits_its_turn() {
    let plane = Plane::start_with(|config| config.connection_max = 1);
    let watch = format!("GET /admin/stream HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {TOKEN}\r\n\r\n");
    let mut watching = begun(&plane, watch.as_bytes());
    watching.read_exact(&mut [0; 12]).unwrap();
    let mut third = begun(&plane, b"GET /health HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n");
    third.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
    assert!(third.read(&mut [0; 1]).is_err(), "the only place is taken");
    drop(watching);
    third.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(first_line(third), "HTTP/1.1 200");
}

#[test]
fn stopping_lets_no_idle_connection_linger() {
    let plane = Plane::start();
    let address = plane.address();
    let mut idle = TcpStream::connect(address).unwrap();
    idle.write_all(b"GET /health HTTP/1.1\r\nhost: t\r\n\r\n").unwrap();
    let mut answer = [0; 12];
    idle.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    let begun = Instant::now();
    plane.stop();
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert!(TcpStream::connect(address).is_err());
}
