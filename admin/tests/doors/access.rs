//! Who may open what: every operation of the description, asked with every kind of credential.

use crate::kit::{Plane, TOKEN};
use crate::{description, operations, text};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// To whom an operation opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opens {
    /// Whoever reaches the port.
    All,
    /// Logins that may look, and whoever may change.
    Viewers,
    /// Operators, and keys with the scope `admin`.
    Operators,
    /// Owners and the operator's token.
    Owners,
    /// As to viewers, and to accounts for what is their own.
    AccountsAndViewers,
    /// As to operators, and to accounts for what is their own.
    AccountsAndOperators,
    /// Accounts alone.
    Accounts,
    /// Applications, by keys with the scope `sdk`, and operators.
    Applications,
}
use Opens::*;

/// What is declared of each operation. One that is not here fails the test: say who may open it, and why.
const DECLARED: [(&str, Opens); 71] = [
    ("begin_session", All),
    ("read_health", All),
    ("read_openapi", All),
    ("read_ready", All),
    ("register", All),
    ("sign_in", All),
    ("sign_out", All),
    ("explore_usage", Viewers),
    ("list_audits", Viewers),
    ("list_blocked", Viewers),
    ("list_limits", Viewers),
    ("list_logs", Viewers),
    ("list_models", Viewers),
    ("list_org_blocked", Viewers),
    ("list_org_features", Viewers),
    ("list_org_groups", Viewers),
    ("list_org_users", Viewers),
    ("list_past_sessions", Viewers),
    ("list_policies", Viewers),
    ("list_prices", Viewers),
    ("list_refusals", Viewers),
    ("list_revoked_tokens", Viewers),
    ("list_rule_triggers", Viewers),
    ("list_rules", Viewers),
    ("list_sessions", Viewers),
    ("list_user_logs", Viewers),
    ("list_users", Viewers),
    ("read_history", Viewers),
    ("read_limit", Viewers),
    ("read_log", Viewers),
    ("read_metrics", Viewers),
    ("read_overview", Viewers),
    ("read_rule", Viewers),
    ("read_rule_history", Viewers),
    ("read_settings", Viewers),
    ("read_summary", Viewers),
    ("read_usage", Viewers),
    ("stream_happenings", Viewers),
    ("block_user", Operators),
    ("change_policy", Operators),
    ("change_rule", Operators),
    ("close_session", Operators),
    ("create_policy", Operators),
    ("create_rule", Operators),
    ("create_user", Operators),
    ("remove_limit", Operators),
    ("remove_policy", Operators),
    ("remove_rule", Operators),
    ("revoke_token", Operators),
    ("rotate_key", Operators),
    ("set_limit", Operators),
    ("set_threshold", Operators),
    ("set_tier", Operators),
    ("toggle_rule", Operators),
    ("unblock_user", Operators),
    ("change_login", Owners),
    ("create_login", Owners),
    ("end_sessions", Owners),
    ("list_logins", Owners),
    ("remove_login", Owners),
    ("remove_price", Owners),
    ("rotate_signing_key", Owners),
    ("set_price", Owners),
    ("list_keys", AccountsAndViewers),
    ("read_me", AccountsAndViewers),
    ("create_key", AccountsAndOperators),
    ("revoke_key", AccountsAndOperators),
    ("read_account_usage", Accounts),
    ("check_call", Applications),
    ("log_call", Applications),
    ("record_call", Applications),
];

/// As whom a credential counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Nobody,
    Owner,
    Operator,
    Viewer,
    Account,
    Application,
    /// Has a key for the proxy alone.
    Caller,
}

/// A credential as it is shown: headers, and who that makes one.
struct Shown {
    what: &'static str,
    headers: Vec<(&'static str, String)>,
    holder: Holder,
    /// A browser's page that may not change anything.
    only_looks: bool,
}

/// What an operation should answer: whether it opens, and if not how that is said.
fn expected(opens: Opens, shown: &Shown, method: &str) -> Result<(), u16> {
    let is_change = !matches!(method, "GET" | "HEAD");
    let holder = shown.holder;
    match opens {
        All => return Ok(()),
        _ if holder == Holder::Nobody => return Err(401),
        _ if shown.only_looks && is_change => return Err(403),
        _ => {}
    }
    let may = match opens {
        All => true,
        Viewers => matches!(holder, Holder::Owner | Holder::Operator | Holder::Viewer),
        Operators => matches!(holder, Holder::Owner | Holder::Operator),
        Owners => holder == Holder::Owner,
        AccountsAndViewers => !matches!(holder, Holder::Application | Holder::Caller),
        AccountsAndOperators => matches!(holder, Holder::Owner | Holder::Operator | Holder::Account),
        Accounts => holder == Holder::Account,
        Applications => matches!(holder, Holder::Owner | Holder::Operator | Holder::Application),
    };
    if may { Ok(()) } else { Err(403) }
}

const PASSWORD: &str = "correct horse battery";

/// The token of a new login with this role.
fn signed_in(plane: &Plane, role: &str) -> String {
    let email = format!("{role}@example.com");
    let mut login = json!({"email": email, "password": PASSWORD, "role": role});
    if role == "member" {
        login["orgId"] = json!("acme");
    }
    plane.created("/admin/logins", &login);
    let body = json!({"email": email, "password": PASSWORD}).to_string();
    text(&plane.ask("POST", "/auth/login", &body).json(), "token").to_owned()
}

/// A token of a login that is gone.
fn removed(plane: &Plane) -> String {
    let login = json!({"email": "gone@example.com", "password": PASSWORD, "role": "owner"});
    let made = plane.created("/admin/logins", &login);
    let body = json!({"email": "gone@example.com", "password": PASSWORD}).to_string();
    let token = text(&plane.ask("POST", "/auth/login", &body).json(), "token").to_owned();
    let path = format!("/admin/logins/{}", text(&made, "id"));
    assert_eq!(plane.ask("DELETE", &path, "").status, 200);
    token
}

fn key(plane: &Plane, request: &Value) -> String {
    text(&plane.created("/auth/api-keys", request), "apiKey").to_owned()
}

fn revoked(plane: &Plane) -> String {
    let made = plane.created("/auth/api-keys", &json!({"name": "old", "scopes": ["admin"]}));
    let path = format!("/auth/api-keys/{}", text(&made, "id"));
    assert_eq!(plane.ask("DELETE", &path, "").status, 200);
    text(&made, "apiKey").to_owned()
}

/// Every kind of credential that there is, and some that there are not. Few that are wrong, or more of them were told to
/// wait.
fn credentials(plane: &Plane) -> Vec<Shown> {
    let shown = |what, headers, holder| Shown { what, headers, holder, only_looks: false };
    let bearer = |token: &str| vec![("authorization", format!("Bearer {token}"))];
    let (owner, operator) = (signed_in(plane, "owner"), signed_in(plane, "operator"));
    let (viewer, member) = (signed_in(plane, "viewer"), signed_in(plane, "member"));
    let made = plane.ask_by(&member, "POST", "/auth/api-keys", "{\"name\":\"own\"}");
    assert_eq!(made.status, 201, "{}", made.body);
    let made = made.json();
    let (head, rest) = owner.split_once('.').expect("three parts");
    let altered = format!("{head}.{}", rest.replacen('e', "f", 1));
    let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", rest.split('.').next().expect("claims"));
    let cookie = |token: &str, origin: Option<&str>| {
        let mut headers = vec![("cookie", format!("theme=dark; tokenist_session={token}"))];
        headers.extend(origin.map(|origin| ("origin", origin.to_owned())));
        headers
    };
    let scoped = |scope: &str| key(plane, &json!({"name": scope, "scopes": [scope]}));
    let bound = |to: &str, whom: &str, scope: &str| {
        key(plane, &json!({"name": "bound", "scopes": [scope], to: whom}))
    };
    vec![
        shown("nothing", vec![], Holder::Nobody),
        shown("garbage", bearer("garbage-that-is-long-enough"), Holder::Nobody),
        shown("another scheme", vec![("authorization", format!("Basic {TOKEN}"))], Holder::Nobody),
        shown("an unknown key", bearer(&format!("ug_{:064}", 0)), Holder::Nobody),
        shown("a revoked key", bearer(&revoked(plane)), Holder::Nobody),
        shown("an altered token", bearer(&altered), Holder::Nobody),
        shown("an unsigned token", bearer(&unsigned), Holder::Nobody),
        shown("a removed login's token", bearer(&removed(plane)), Holder::Nobody),
        shown("the operator's token as a cookie", cookie(TOKEN, Some("http://tokenist")), Holder::Nobody),
        shown("the operator's token", bearer(TOKEN), Holder::Owner),
        shown("an owner's token", bearer(&owner), Holder::Owner),
        shown("an owner's cookie here", cookie(&owner, Some("http://tokenist")), Holder::Owner),
        Shown { only_looks: true, ..shown("an owner's cookie", cookie(&owner, None), Holder::Owner) },
        Shown {
            only_looks: true,
            ..shown("an owner's cookie elsewhere", cookie(&owner, Some("http://evil.example")), Holder::Owner)
        },
        shown("an operator's token", bearer(&operator), Holder::Operator),
        shown("a viewer's token", bearer(&viewer), Holder::Viewer),
        shown("a viewer's cookie here", cookie(&viewer, Some("http://tokenist")), Holder::Viewer),
        shown("a member's token", bearer(&member), Holder::Account),
        shown("a member's cookie here", cookie(&member, Some("http://tokenist")), Holder::Account),
        shown("a key for all", bearer(&scoped("admin")), Holder::Operator),
        shown("a key for applications", bearer(&scoped("sdk")), Holder::Application),
        shown("a key for the proxy", bearer(&scoped("proxy")), Holder::Caller),
        shown("a user's key", bearer(&bound("userId", "kim", "sdk")), Holder::Application),
        shown("an org's key", bearer(&bound("orgId", "acme", "sdk")), Holder::Application),
        shown("a user's key for the proxy", bearer(&bound("userId", "kim", "proxy")), Holder::Caller),
        shown("an org's key for the proxy", bearer(&bound("orgId", "acme", "proxy")), Holder::Caller),
        shown("an account's key", bearer(text(&made, "apiKey")), Holder::Application),
    ]
}

/// The status alone, for not every answer has an end.
fn status(plane: &Plane, method: &str, path: &str, shown: &Shown, body: &str) -> u16 {
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: tokenist\r\nconnection: close\r\n");
    shown.headers.iter().for_each(|(name, value)| request += &format!("{name}: {value}\r\n"));
    request += &format!("content-length: {}\r\n\r\n{body}", body.len());
    let mut stream = TcpStream::connect(plane.address()).expect("the admin plane listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout that is not zero");
    stream.write_all(request.as_bytes()).expect("a small request is taken");
    let mut line = [0; "HTTP/1.1 200".len()];
    stream.read_exact(&mut line).unwrap_or_else(|error| panic!("{method} {path}: {error}"));
    let line = String::from_utf8_lossy(&line);
    line.rsplit(' ').next().and_then(|digits| digits.parse().ok()).expect("a status")
}

#[test]
fn every_operation_opens_to_those_whom_it_is_declared_for_and_to_nobody_else() {
    let plane = Plane::start_with(|config| config.registration = true);
    let credentials = credentials(&plane);
    let description = description();
    let operations = operations(&description);
    let mut walked = BTreeSet::new();
    let declared = |id: &str| DECLARED.iter().find(|(name, _)| *name == id).map(|&(_, opens)| opens);
    for (method, path, operation) in &operations {
        let id = text(operation, "operationId");
        let opens =
            declared(id).unwrap_or_else(|| panic!("{id} ({method} {path}): declare to whom it opens"));
        assert_eq!(
            operation["security"].is_array(),
            opens != All,
            "{id}: what the description says of credentials"
        );
        assert!(walked.insert(id), "{id} is described once");
    }
    // One after the other: what is wrong and shown again and again is counted once.
    for shown in &credentials {
        for (method, path, operation) in &operations {
            let opens = declared(text(operation, "operationId")).expect("looked for above");
            // Whoever is let in is told that this is no body. Where there is none, nothing of that name is there.
            let body = if method == "GET" || method == "DELETE" { "" } else { "{" };
            let status = status(&plane, method, path, shown, body);
            let opened = if matches!(status, 401 | 403 | 429) { Err(status) } else { Ok(()) };
            let what = shown.what;
            assert_eq!(opened, expected(opens, shown, method), "{method} {path} with {what}: {status}");
            assert!(
                body.is_empty() || opened.is_err() || status != 200,
                "{method} {path} with {what}: {status}"
            );
        }
    }
    let declared: BTreeSet<_> = DECLARED.iter().map(|(name, _)| *name).collect();
    assert_eq!(declared, walked, "left: declared, right: described");
}

#[test]
fn no_route_goes_around_the_description() {
    let routes = include_str!("../../route/mod.rs");
    for way in [".route(", ".nest(", ".route_service(", ".fallback_service("] {
        assert!(!routes.contains(way), "{way} adds what is not described, so nobody looks who may open it");
    }
}
