//! Heads that two readers could read differently, and what answers tell browsers.

use crate::kit::{Plane, TOKEN, ask_with, send};

/// The status of an answer to these lines, as they are, and its sentence.
fn raw(plane: &Plane, lines: &[&str]) -> (u16, String) {
    let answer =
        send(plane.address(), format!("{}\r\nconnection: close\r\n\r\n", lines.join("\r\n")).as_bytes());
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, answer.rsplit("\r\n").next().unwrap_or_default().to_owned())
}

#[test]
fn a_head_that_two_readers_could_read_differently_is_refused() {
    let plane = Plane::start();
    let (bearer, host) = (&*format!("authorization: Bearer {TOKEN}"), "host: tokenist");
    assert_eq!(raw(&plane, &["GET /admin/users HTTP/1.1", host, bearer]).0, 200);
    let cookie = "cookie: tokenist_session=one; tokenist_session=two";
    for (lines, why) in [
        (
            vec!["GET http://evil.example/admin/users HTTP/1.1", host, bearer],
            "a path that begins with a slash",
        ),
        (vec!["GET http://tokenist/admin/users HTTP/1.1", host, bearer], "a path that begins with a slash"),
        (vec!["GET /http://tokenist/admin/users HTTP/1.1", host, bearer], "a path that begins with a slash"),
        (vec!["OPTIONS * HTTP/1.1", host, bearer], "a path that begins with a slash"),
        (vec!["CONNECT evil.example:443 HTTP/1.1", host, bearer], "a path that begins with a slash"),
        (vec!["GET /admin/users HTTP/1.1", host, bearer, bearer], "gives Authorization twice"),
        (
            vec!["GET /admin/users HTTP/1.1", host, bearer, "Authorization: Basic eA=="],
            "gives Authorization twice",
        ),
        (
            vec!["GET /admin/users HTTP/1.1", host, "Authorization: Bearer wrong", bearer],
            "gives Authorization twice",
        ),
        (vec!["GET /health HTTP/1.1", host, bearer, bearer], "gives Authorization twice"),
        (vec!["GET /admin/users HTTP/1.1", host, "Host: evil.example", bearer], "gives Host twice"),
        (
            vec!["POST /sdk/record HTTP/1.1", host, bearer, "idempotency-key: a", "idempotency-key: b"],
            "gives Idempotency-Key twice",
        ),
        (vec!["GET /admin/users HTTP/1.1", host, cookie], "gives the cookie tokenist_session twice"),
        (
            vec![
                "GET /admin/users HTTP/1.1",
                host,
                "cookie: tokenist_session=a",
                "cookie: tokenist_session=b",
            ],
            "gives the cookie tokenist_session twice",
        ),
    ] {
        let (status, told) = raw(&plane, &lines);
        assert!(status == 400 && told.contains(why), "{lines:?}: {status} {told}");
    }
}

#[test]
fn every_answer_tells_browsers_to_load_nothing_from_elsewhere_and_to_show_it_in_no_frame() {
    let plane = Plane::start();
    let html = ("accept", "text/html");
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/nothing/at/all"),
        ("GET", "/index.html"),
        ("GET", "/users"),
        ("GET", "/health"),
        ("GET", "/openapi.json"),
        ("GET", "/admin/users"),
        ("POST", "/auth/login"),
        ("PUT", "/"),
        ("OPTIONS", "/admin/users"),
    ] {
        let answer = ask_with(plane.address(), method, path, &[html], "");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{method} {path}");
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{method} {path}");
        assert_eq!(answer.header("referrer-policy"), Some("same-origin"), "{method} {path}");
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(policy.contains("frame-ancestors 'none'"), "{method} {path}: {policy}");
        assert!(policy.starts_with("default-src 'none'") || policy.contains("script-src 'self'"), "{policy}");
    }
}
