use super::*;
use tokenist_core::http::request_head;

const OPEN: IdentityRules = IdentityRules { passthrough: true, query: true };
const SPACED: &str =
    "a user id that begins with ug: is for operators to say; an account's key says the id alone";
const STRAY: &str = "the query parameter user_id holds a `?` that is none of its own; write it as %3F";

fn check(target: &str, headers: &[&str], rules: &IdentityRules) -> Result<(String, String), String> {
    let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let head = request_head(format!("GET {target} HTTP/1.1\r\n{lines}\r\n").as_bytes()).unwrap();
    let (head, mended) = mended(head, rules);
    let caller = mended
        .and_then(|()| caller(&head, rules, |_| Err(TokenFault::Foreign)))
        .map_err(|ending| ending.message())?;
    let key = match caller.credential {
        Credential::Key(_) => "ug".into(),
        Credential::Own(key) => key.reveal().to_owned(),
        Credential::Token(_) => unreachable!("none is read here"),
    };
    Ok((key, caller.user.map_or("-".into(), |user| user.to_string())))
}

#[test]
fn credentials_and_users_are_found_wherever_sdks_put_them() {
    let user = "x-user-id: alice";
    for (target, headers) in [
        ("/v1/realtime", vec!["Authorization: Bearer sk-1", user]),
        ("/v1/realtime", vec!["authorization: bearer sk-1", user]),
        ("/v1/realtime", vec!["api-key: sk-1", user]),
        ("/v1/realtime", vec!["x-goog-api-key: sk-1", user]),
        ("/v3/ws", vec!["Authorization: sk-1", user]),
        ("/v1/listen", vec!["Authorization: Token sk-1", user]),
        ("/v1/convai/conversation", vec!["xi-api-key: sk-1", user]),
        ("/v1/listen", vec!["Sec-WebSocket-Protocol: token, sk-1", user]),
        ("/v1/listen", vec!["Sec-WebSocket-Protocol: Bearer, sk-1, other", user]),
        ("/v1/realtime?key=sk%2D1", vec![user]),
        ("/v3/ws?token=sk-1&speech_model=m", vec![user]),
        ("/v2?jwt=sk-1", vec![user]),
        ("/v1/realtime?Authorization=Bearer%20sk-1", vec![user]),
        ("/v1/realtime", vec!["Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.sk-1", user]),
        ("/v1/realtime", vec!["Sec-WebSocket-Protocol: xai-client-secret.sk-1", user]),
        ("/v1/convai/conversation", vec!["Sec-WebSocket-Protocol: convai, bearer.sk-1", user]),
        ("/v1/realtime?KEY=sk-1", vec![user]),
        ("/v1/realtime?%6bey=sk-1", vec![user]),
        ("/v1/realtime?authorization=bearer+sk-1", vec![user]),
        ("/v1/realtime?key=sk-1?model=m", vec![user]),
        ("/v1/realtime?user_id=alice", vec!["Authorization: Bearer sk-1"]),
        ("/v1/realtime?user_id=alice?model=m", vec!["Authorization: Bearer sk-1"]),
        ("/v1/realtime?model=m?user_id=alice", vec!["Authorization: Bearer sk-1"]),
    ] {
        assert_eq!(
            check(target, &headers, &OPEN),
            Ok(("sk-1".into(), "alice".into())),
            "{target} {headers:?}"
        );
    }
    let bound = check("/v1/realtime", &["Authorization: Bearer ug_00"], &OPEN);
    assert_eq!(bound, Ok(("ug".into(), "-".into())));
}

#[test]
fn a_user_is_the_same_in_a_header_and_in_the_query_however_the_id_is_written() {
    let key = "Authorization: Bearer sk-1";
    let alice = || Ok(("sk-1".into(), "Alice".into()));
    for query in ["Alice", "Alice%20", "Alice+", "+Alice", "Alice%09", "%C2%A0Alice", "Alice%E3%80%80"] {
        assert_eq!(check(&format!("/?user_id={query}"), &[key], &OPEN), alice(), "{query}");
    }
    for header in ["Alice", "  Alice\t", "\u{a0}Alice", "Alice\u{3000}"] {
        assert_eq!(check("/", &[key, &format!("x-user-id: {header}")], &OPEN), alice(), "{header}");
    }
    let zoe = || Ok(("sk-1".into(), "Zo\u{e9}".into()));
    assert_eq!(check("/", &[key, "x-user-id: Zoe\u{301}"], &OPEN), zoe());
    assert_eq!(check("/?user_id=Zoe%CC%81", &[key], &OPEN), zoe());
    assert_eq!(check("/?user_id=Zo%C3%A9", &[key], &OPEN), zoe());
}

#[test]
fn two_credentials_of_a_name_are_refused_and_two_of_which_one_is_ours() {
    let refused = |target: &str, headers: &[&str]| {
        let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        let head =
            request_head(format!("GET {target} HTTP/1.1\r\nHost: h\r\n{lines}\r\n").as_bytes()).unwrap();
        refuse_ambiguous(&mended(head, &OPEN).0).map_err(|error| error.to_string())
    };
    let two = "The request's header is malformed: it shows a tokenist key and another one; send one of them";
    let two_models = "The request's header is malformed: its query names two models; name one";
    let call_and_model = "The request's header is malformed: its query names a call and a model; a call has its own, so name the call alone";
    let twice = |name: &str| format!("The request gives {name} twice: send it once");
    let bearer = "Authorization: Bearer sk-1";
    for (target, headers, why) in [
        ("/", vec![bearer, "authorization: Bearer sk-2"], twice("Authorization")),
        ("/", vec![bearer, bearer], twice("Authorization")),
        ("/", vec![bearer, "Host: a", "host: a"], twice("Host")),
        ("/", vec![bearer, "Authorization: Basic c2s="], twice("Authorization")),
        ("/", vec!["api-key: sk-1", "Api-Key: sk-2"], twice("api-key")),
        ("/", vec!["x-goog-api-key: sk-1", "x-goog-api-key: sk-1"], twice("x-goog-api-key")),
        ("/?key=a&key=b", vec![], twice("key")),
        ("/?key=a&%4Bey=b", vec![], twice("key")),
        ("/?key=a?key=b", vec![], twice("key")),
        ("/?model=a&%6dodel=b", vec![], twice("model")),
        ("/?model_id=a&MODEL_ID=a", vec![], twice("model_id")),
        ("/?speech_model=a&speech_model=b", vec![], twice("speech_model")),
        ("/?call_id=a&call_id=b", vec![], twice("call_id")),
        ("/?MODEL=a", vec![], "The request gives model in another spelling: write it so".into()),
        ("/?model=a&deployment=b", vec![], two_models.into()),
        ("/?model_id=a&x=y&model=%62", vec![], two_models.into()),
        ("/?model=m&call_id=c", vec![], call_and_model.into()),
        ("/?call%5Fid=c&deployment=m", vec![], call_and_model.into()),
        ("/?model=m?call_id=c", vec![], call_and_model.into()),
        (
            "/",
            vec!["Sec-WebSocket-Protocol: openai-insecure-api-key.a, realtime, openai-insecure-api-key.b"],
            twice("the subprotocol of an API key"),
        ),
        ("/", vec![bearer, "x-api-key: ug_1"], two.into()),
        ("/?key=ug_1", vec![bearer], two.into()),
        ("/", vec![bearer, "Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.ug_1"], two.into()),
        ("/", vec![bearer, "Sec-WebSocket-Protocol: convai, bearer.ug_1"], two.into()),
    ] {
        assert_eq!(refused(target, &headers), Err(why), "{target} {headers:?}");
    }
    let two_of_ours = Err(format!("Not authorized: {TWO_KEYS}"));
    for headers in [vec!["Authorization: Bearer ug_2"], vec!["x-api-key: ek_1"]] {
        assert_eq!(check("/?key=ug_1&user_id=a", &headers, &OPEN), two_of_ours, "{headers:?}");
    }
    for (target, headers) in [
        ("/", vec![]),
        ("/?model=a&deployment=%61&model_id=", vec![]),
        ("/?call_id=c&model=", vec![]),
        ("/?call_id=&model=m", vec![]),
        ("/?key=sk-2&authorization=Bearer%20sk-3", vec![bearer, "api-key: sk-4", "x-api-key:"]),
        ("/?key=ug_1", vec!["Authorization: Bearer ug_1", "api-key: ug_1"]),
        ("/", vec![bearer, "Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.sk-1"]),
        ("/", vec!["Authorization: Basic c2s=", "api-key: sk-1"]),
    ] {
        assert_eq!(refused(target, &headers), Ok(()), "{target} {headers:?}");
    }
}

#[test]
fn what_is_refused_is_told_apart_by_user_and_credential() {
    let mark = |target: &str, headers: &[&str]| {
        let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        mark(&request_head(format!("GET {target} HTTP/1.1\r\n{lines}\r\n").as_bytes()).unwrap(), &OPEN)
    };
    let (one, other) = ("Authorization: Bearer ug_1", "Authorization: Bearer ug_2");
    assert_eq!(mark("/", &[]), None);
    assert_eq!(mark("/", &[one]), mark("/?x=1", &[one]));
    assert_ne!(mark("/", &[one]), mark("/", &[other]));
    assert_ne!(mark("/", &[one]), mark("/", &[one, "x-user-id: alice"]));
    assert_eq!(mark("/?user_id=alice", &[]), mark("/", &["x-user-id: alice"]));
}

#[test]
fn what_is_missing_or_malformed_is_said() {
    let key = "Authorization: Bearer sk-1";
    let foreign = TokenFault::Foreign.to_string();
    for (target, headers, rules, why) in [
        ("/", vec!["x-user-id: a"], OPEN, "no API key was sent; put one in `Authorization: Bearer …`"),
        (
            "/",
            vec!["Authorization: Bearer ", "x-user-id: a"],
            OPEN,
            "no API key was sent; put one in `Authorization: Bearer …`",
        ),
        ("/", vec![key], OPEN, "the x-user-id header is missing"),
        ("/", vec![key, "x-user-id: "], OPEN, "the x-user-id header is empty"),
        ("/", vec![key, "x-user-id: ug:acme:a"], OPEN, SPACED),
        ("/?user_id=ug%3Aacme:a", vec![key], OPEN, SPACED),
        ("/?user_id=+ug:acme:a", vec![key], OPEN, SPACED),
        (
            "/",
            vec![key, "x-user-id: a\tb"],
            OPEN,
            "the x-user-id header contains a control character: U+0009, its character 2; leave it out",
        ),
        ("/", vec![key, "x-user-id: a", "X-User-Id: b"], OPEN, "the x-user-id header is given twice"),
        (
            "/?user_id=%00",
            vec![key],
            OPEN,
            "the query parameter user_id contains a control character: U+0000, its character 1; leave it out",
        ),
        (
            "/?user_id=Al%E2%80%8Bice",
            vec![key],
            OPEN,
            "the query parameter user_id contains an invisible character: U+200B, its character 3; leave it out",
        ),
        (
            "/",
            vec![key, "x-user-id: Al\u{a0}ice"],
            OPEN,
            "the x-user-id header contains a blank that is no space: U+00A0, its character 3; write a plain space",
        ),
        ("/?user_id=%", vec![key], OPEN, "the query parameter user_id is not valid percent-encoding"),
        ("/?user_id=a&user_id=b", vec![key], OPEN, "the query parameter user_id is given twice"),
        ("/?user_id=a?user_id=b", vec![key], OPEN, "the query parameter user_id is given twice"),
        ("/?user_id=a?b", vec![key], OPEN, STRAY),
        ("/?user_id=a?b=c?d=e", vec![key], OPEN, STRAY),
        ("/?key=sk%0d%0aX:1", vec!["x-user-id: a"], OPEN, BAD_KEY),
        ("/?key=%", vec!["x-user-id: a"], OPEN, "the query parameter key is not valid percent-encoding"),
        ("/", vec!["api-key: sk 1", "x-user-id: a"], OPEN, BAD_KEY),
        ("/", vec!["Authorization: Bearer schlüssel", "x-user-id: a"], OPEN, BAD_KEY),
        ("/", vec!["Authorization: Bearer ek_1", "x-user-id: a"], OPEN, &foreign),
        ("/?access_token=auth_tokens/ek_1", vec![], OPEN, &foreign),
        ("/", vec!["Authorization: Bearer ek_1"], IdentityRules { passthrough: false, ..OPEN }, &foreign),
        ("/x/ug_1/v1", vec![key, "x-user-id: a"], OPEN, IN_PATH),
        ("/x/%75g_1/v1", vec![key, "x-user-id: a"], OPEN, IN_PATH),
        ("/?user_id=a", vec![key], IdentityRules { query: false, ..OPEN }, "the x-user-id header is missing"),
        (
            "/",
            vec![key, "x-user-id: a"],
            IdentityRules { passthrough: false, ..OPEN },
            "only tokenist keys (ug_…) are accepted here",
        ),
    ] {
        assert_eq!(
            check(target, &headers, &rules),
            Err(format!("Not authorized: {why}")),
            "{target} {headers:?}"
        );
    }
}
