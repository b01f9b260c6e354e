//! What happens, as it is told to whoever watches.

mod kit;

use kit::{Plane, TOKEN};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use tokenist_handoff::Order;

/// One stream of events, from now on.
struct Watch(BufReader<TcpStream>);

impl Watch {
    fn open(plane: &Plane) -> Watch {
        Watch::open_by(plane, &format!("Authorization: Bearer {TOKEN}"))
    }

    fn open_by(plane: &Plane, credential: &str) -> Watch {
        let mut stream = TcpStream::connect(plane.address()).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        let head = format!("GET /admin/stream HTTP/1.1\r\nHost: x\r\n{credential}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut watch = Watch(BufReader::new(stream));
        assert!(watch.line().contains("200"));
        let mut is_stream = false;
        loop {
            let line = watch.line();
            is_stream |= line == "content-type: text/event-stream";
            if line.is_empty() {
                assert!(is_stream);
                return watch;
            }
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("something is told");
        line.trim_end().to_owned()
    }

    /// Whether it has ended, and not only been silent.
    fn is_over(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }

    /// The next event and its data; chunk sizes and blank lines are passed over.
    fn next(&mut self) -> (String, Value) {
        loop {
            let line = self.line();
            if let Some(name) = line.strip_prefix("event: ") {
                let data = self.line();
                return (
                    name.to_owned(),
                    serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap(),
                );
            }
        }
    }
}

#[test]
fn whoever_watches_hears_of_sessions_limits_and_blocks() {
    let plane = Plane::start();
    plane.session("early", 1);
    let limit = json!({"maxTotalTokens": 1_600}).to_string();
    plane.ask("PUT", "/admin/limits/user/alice", &limit);
    assert!(matches!(plane.order(), Order::Sweep), "less is allowed than before");
    let mut watch = Watch::open(&plane);
    let mut other = Watch::open(&plane);
    let live = plane.session("alice", 1);
    let (name, session) = watch.next();
    assert_eq!((&*name, &session["userId"]), ("session.opened", &json!("alice")));
    let (name, warned) = watch.next();
    assert_eq!(
        (&*name, &warned["sharePercent"], &warned["id"]),
        ("limit.warned", &json!(80), &json!("alice"))
    );
    plane.session("alice", 1);
    let names: Vec<String> = (0..2).map(|_| watch.next().0).collect();
    assert_eq!(names, ["session.opened", "limit.reached"]);
    plane.ask("POST", "/admin/users/bob/block", "{\"reason\":\"<abuse>\"}");
    let (name, blocked) = watch.next();
    assert_eq!(
        (&*name, &blocked["userId"], &blocked["reason"]),
        ("user.blocked", &json!("bob"), &json!("<abuse>"))
    );
    plane.ask("POST", "/admin/users/bob/unblock", "");
    assert_eq!(watch.next().0, "user.unblocked");
    plane.ask("POST", "/admin/users/bob/unblock", "");
    plane.ask("DELETE", &format!("/admin/sessions/{}", live.id), "");
    plane.close(&live);
    let (name, closed) = watch.next();
    assert_eq!(
        (&*name, &closed["userId"], &closed["closeCode"]),
        ("session.closed", &json!("alice"), &json!(4003))
    );
    assert_eq!(other.next().0, "session.opened", "each hears all");
}

#[test]
fn a_stream_ends_when_the_plane_stops() {
    let plane = Plane::start();
    let mut watch = Watch::open(&plane);
    drop(plane);
    while !watch.line().is_empty() {} // The last chunk, and the connection's end.
}

#[test]
fn a_stream_ends_with_its_credential() {
    let plane = Plane::start();
    let email = |name: &str| format!("{name}@example.com");
    let login = |name: &str| {
        let body = json!({"email": email(name), "password": "correct horse", "role": "operator"});
        plane.created("/admin/logins", &body)["id"].as_str().unwrap().to_owned()
    };
    let sign_in = |name: &str| {
        let body = json!({"email": email(name), "password": "correct horse"}).to_string();
        plane.ask("POST", "/auth/login", &body).json()["token"].as_str().unwrap().to_owned()
    };
    let key = |by: &str, end: Option<String>| {
        let mut body = json!({"name": "k", "scopes": ["admin"]});
        if let Some(end) = end {
            body["expiresAt"] = end.into();
        }
        let made = plane.ask_by(by, "POST", "/auth/api-keys", &body.to_string()).json();
        (made["apiKey"].as_str().unwrap().to_owned(), made["id"].as_str().unwrap().to_owned())
    };
    let bearer = |token: &str| format!("Authorization: Bearer {token}");
    let [removed, demoted, locked, _, gone] = ["removed", "demoted", "locked", "away", "gone"].map(login);
    let tokens = ["removed", "demoted", "locked", "away", "gone"].map(sign_in);
    let (second, third) = (sign_in("away"), sign_in("gone"));
    let soon = kit::now().plus_ms(3_000).to_string();
    let ((revoked, revoked_id), (expired, _)) = (key(TOKEN, None), key(TOKEN, Some(soon)));
    let (demoteds, _) = key(&tokens[1], None);
    let session = plane.ask("POST", "/auth/session", &json!({"token": TOKEN}).to_string());
    let cookie = session.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let mut watches: Vec<(String, Watch)> = tokens
        .iter()
        .chain([&third, &revoked, &expired, &demoteds])
        .map(|token| bearer(token))
        .chain([format!("Cookie: {cookie}")])
        .map(|credential| (credential.clone(), Watch::open_by(&plane, &credential)))
        .collect();
    let (mut operator, mut other) = (Watch::open(&plane), Watch::open_by(&plane, &bearer(&second)));

    plane.ask("DELETE", &format!("/admin/logins/{removed}"), "");
    plane.ask("PATCH", &format!("/admin/logins/{demoted}"), r#"{"role": "member"}"#);
    plane.ask("PATCH", &format!("/admin/logins/{locked}"), r#"{"password": "another horse"}"#);
    plane.ask_by(&tokens[3], "POST", "/auth/logout", "");
    plane.ask("DELETE", &format!("/admin/logins/{gone}/sessions"), "");
    plane.ask("DELETE", &format!("/auth/api-keys/{revoked_id}"), "");
    plane.ask("POST", "/auth/logout", r#"{"everywhere": true}"#);
    for (credential, watch) in &mut watches {
        assert!(watch.is_over(), "{credential}");
    }
    plane.ask("POST", "/admin/users/bob/block", "{}");
    assert_eq!(operator.next().0, "user.blocked", "whose credential holds goes on");
    assert_eq!(other.next().0, "user.blocked");
    plane.ask("POST", "/admin/signing-key/rotate", "");
    assert!(other.is_over());
}
