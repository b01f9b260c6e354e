use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

const NOW: Timestamp = Timestamp(1_790_000_000_000);

/// Told by every byte, which is all that is asked of a code here.
fn code(said: &[u8]) -> [u8; CODE_BYTES] {
    let mut code = [7u8; CODE_BYTES];
    for (place, byte) in said.iter().enumerate() {
        let at = place % CODE_BYTES;
        code[at] = code[at].rotate_left(3) ^ byte.wrapping_mul(31);
    }
    code
}

fn read(token: &str) -> Result<Claims, TokenFault> {
    Claims::read(token, |said, shown| code(said) == shown)
}

fn claims() -> Claims {
    Claims {
        id: "0123456789abcdef".into(),
        opens: Opens::Realtime,
        user: Some("alice".into()),
        org: None,
        feature: None,
        key: Some(KeyHash([3; 32])),
        model: Some("gpt-realtime".into()),
        session: None,
        made_at: NOW,
        starts_until: NOW.plus_ms(600_000),
        ends_at: None,
        uses: None,
        run: 7,
    }
}

fn any_claims() -> impl Strategy<Value = Claims> {
    let text = || proptest::option::of("\\PC{1,12}");
    let opens = prop_oneof![
        Just(Opens::Realtime),
        Just(Opens::Transcription),
        Just(Opens::Translation),
        Just(Opens::Live),
        Just(Opens::Gemini)
    ];
    let who = (opens, text(), text(), text(), proptest::option::of(any::<[u8; 32]>()));
    let what = (
        text(),
        text(),
        any::<[u64; 3]>(),
        proptest::option::of(any::<u64>()),
        proptest::option::of(any::<u32>()),
    );
    (who, what).prop_map(
        |((opens, user, org, feature, key), (model, session, [made, until, run], end, uses))| Claims {
            id: format!("{run:016x}").as_str().into(),
            opens,
            user: user.map(|user| user.as_str().into()),
            org: org.map(|org| org.as_str().into()),
            feature: feature.map(|feature| feature.as_str().into()),
            key: key.map(KeyHash),
            model: model.map(Into::into),
            session: session.map(Into::into),
            made_at: Timestamp(made),
            starts_until: Timestamp(until),
            ends_at: end.map(Timestamp),
            uses,
            run,
        },
    )
}

proptest! {
    #[test]
    fn a_token_says_what_was_signed_and_stands_in_any_header(claims in any_claims()) {
        let token = claims.write(code);
        prop_assert!(token.starts_with("ek_"));
        prop_assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)), "{}", token);
        prop_assert_eq!(read(&token), Ok(claims.clone()));
        prop_assert_eq!(read(&format!("auth_tokens/{token}")), Ok(claims));
    }

    #[test]
    fn a_token_of_which_a_byte_was_changed_opens_nothing(claims in any_claims(), place: prop::sample::Index, byte in "[ -~]") {
        let token = claims.write(code);
        let at = place.index(token.len());
        let changed = format!("{}{byte}{}", &token[..at], &token[at + 1..]);
        prop_assert!(changed == token || read(&changed).is_err(), "{}", changed);
        for cut in [&token[..at], &token[at + 1..]] {
            prop_assert!(read(cut).is_err());
        }
    }

    #[test]
    fn no_text_makes_it_fail(token: String) {
        prop_assert!(read(&token).is_err());
    }

    #[test]
    fn no_body_makes_it_fail(body: Vec<u8>) {
        for form in [Form::Secret(Opens::Realtime), Form::Beta(Opens::Realtime), Form::Google] {
            drop(form.read(&body, NOW));
        }
    }
}

#[test]
fn a_token_of_elsewhere_is_told_from_one_that_was_altered() {
    let token = claims().write(code);
    let (said, _) = token.split_once('.').unwrap();
    for (token, fault) in [
        ("ek_68af296e8e408191a1120ab6383263c2", TokenFault::Foreign),
        ("auth_tokens/0a1b", TokenFault::Foreign),
        ("ek_.", TokenFault::Foreign),
        (&format!("{said}."), TokenFault::Foreign),
        (&claims().write(|said| code(&said[1..])), TokenFault::Altered),
        (&format!("{said}.{}", URL_SAFE_NO_PAD.encode([0; 32])), TokenFault::Altered),
    ] {
        assert_eq!(read(token), Err(fault), "{token}");
    }
    // A code has two bits behind its last byte.
    let (rest, last) = token.split_at(token.len() - 1);
    let next = last.bytes().map(|byte| char::from(byte + 1)).collect::<String>();
    for otherwise in
        [format!("{token}="), format!("{rest}{next}"), format!("{rest}+"), format!("{rest} {last}")]
    {
        assert_eq!(read(&otherwise), Err(TokenFault::Foreign), "{otherwise}");
    }
    let newer = URL_SAFE_NO_PAD.encode(br#"{"id":"1","opens":"realtime","only_at_night":true}"#);
    let said = format!("ek_{newer}");
    let newer = format!("{said}.{}", URL_SAFE_NO_PAD.encode(code(said.as_bytes())));
    assert_eq!(read(&newer), Err(TokenFault::Foreign));
}

#[test]
fn clocks_that_are_five_seconds_apart_agree_about_a_token() {
    let at = |ms: i64| NOW.0.checked_add_signed(ms).map(Timestamp).unwrap();
    for (ms, valid, begins) in [
        (-5_001, Err(TokenFault::Early), Ok(())),
        (-5_000, Ok(()), Ok(())),
        (604_999, Ok(()), Ok(())),
        (605_000, Err(TokenFault::Expired), Err(TokenFault::Expired)),
    ] {
        assert_eq!((claims().check_time(at(ms)), claims().may_begin(at(ms))), (valid, begins), "{ms}");
    }
    let lasting = Claims { ends_at: Some(NOW.plus_ms(1_800_000)), ..claims() };
    assert_eq!(
        (lasting.check_time(at(605_000)), lasting.may_begin(at(605_000))),
        (Ok(()), Err(TokenFault::Expired))
    );
    assert_eq!(lasting.check_time(at(1_805_000)), Err(TokenFault::Expired));
}

#[test]
fn how_often_a_token_of_before_was_used_is_not_known() {
    let counted = |run, made_at, uses| Claims { run, made_at, uses, ..claims() }.is_countable(7, NOW);
    assert!(counted(7, NOW.minus_ms(1), Some(1)) && counted(8, NOW.minus_ms(1), None));
    assert!(counted(8, NOW.plus_ms(5_000), Some(1)) && !counted(8, NOW.plus_ms(4_999), Some(1)));
}

#[test]
fn a_token_opens_sessions_of_its_kind_behind_any_prefix() {
    for (path, opened) in [
        ("/v1/realtime", vec![Opens::Realtime, Opens::Transcription]),
        ("/p/azure/openai/v1/realtime/", vec![Opens::Realtime, Opens::Transcription]),
        ("/v1/realtime/translations", vec![Opens::Translation]),
        ("/v1/live/sessions", vec![Opens::Live]),
        (
            "/ws/google.ai.generativelanguage.v1alpha.GenerativeService.BidiGenerateContentConstrained",
            vec![Opens::Gemini],
        ),
        ("/v1/responses", vec![]),
        ("/v1/live/sessions/live_1/attach", vec![]),
    ] {
        let all = [Opens::Realtime, Opens::Transcription, Opens::Translation, Opens::Live, Opens::Gemini];
        assert_eq!(all.into_iter().filter(|opens| opens.is_for(path)).collect::<Vec<_>>(), opened, "{path}");
    }
}

#[test]
fn a_token_is_asked_for_in_the_words_of_each_provider() {
    for (path, form) in [
        ("/v1/realtime/client_secrets", Some(Form::Secret(Opens::Realtime))),
        ("/p/xai/v1/realtime/client_secrets/", Some(Form::Secret(Opens::Realtime))),
        ("/v1/realtime/translations/client_secrets", Some(Form::Secret(Opens::Translation))),
        ("/v1/live/client_secrets", Some(Form::Secret(Opens::Live))),
        ("/v1/realtime/sessions", Some(Form::Beta(Opens::Realtime))),
        ("/v1/realtime/transcription_sessions", Some(Form::Beta(Opens::Transcription))),
        ("/v1alpha/auth_tokens", Some(Form::Google)),
        ("/v1/realtime", None),
        ("/v1/live/sessions", None),
    ] {
        assert_eq!(Form::of("POST", path), form, "{path}");
        assert_eq!(Form::of("GET", path), None);
    }
}

#[test]
fn what_is_asked_for_is_what_a_token_is_bound_to() {
    let secret = Form::Secret(Opens::Realtime);
    let wish = |form: Form, body: &Value| form.read(body.to_string().as_bytes(), NOW);
    let free = Wish {
        opens: Opens::Realtime,
        model: None,
        session: None,
        starts_until: NOW.plus_ms(600_000),
        ends_at: None,
        uses: None,
    };
    assert_eq!(secret.read(b"", NOW), Ok(free.clone()));
    assert_eq!(
        wish(secret, &json!({"expires_after": {"seconds": 300}})),
        Ok(Wish { starts_until: NOW.plus_ms(300_000), ..free.clone() })
    );
    let session = json!({"type": "realtime", "model": "m"});
    assert_eq!(
        wish(secret, &json!({"session": session, "uses": 2})),
        Ok(Wish {
            model: Some("m".into()),
            session: Some(session.to_string()),
            uses: Some(2),
            ..free.clone()
        })
    );
    let transcribes = wish(secret, &json!({"session": {"type": "transcription"}})).unwrap();
    assert_eq!(transcribes.opens, Opens::Transcription);
    let beta = wish(
        Form::Beta(Opens::Realtime),
        &json!({"model": "m", "voice": "ash", "client_secret": {"expires_at": {"seconds": 90}}}),
    );
    assert_eq!(
        beta,
        Ok(Wish {
            model: Some("m".into()),
            session: Some(r#"{"model":"m","voice":"ash"}"#.into()),
            starts_until: NOW.plus_ms(90_000),
            ..free.clone()
        })
    );
    assert_eq!(Form::Beta(Opens::Realtime).read(b"{}", NOW).unwrap().starts_until, NOW.plus_ms(60_000));
    let google = wish(
        Form::Google,
        &json!({"bidiGenerateContentSetup": {"model": "models/g"}, "uses": 0, "expireTime": NOW.plus_ms(90_000).to_string()}),
    );
    assert_eq!(
        google,
        Ok(Wish {
            opens: Opens::Gemini,
            model: Some("g".into()),
            session: Some(r#"{"model":"models/g"}"#.into()),
            starts_until: NOW.plus_ms(60_000),
            ends_at: Some(NOW.plus_ms(90_000)),
            uses: None
        })
    );
    assert_eq!(Form::Google.read(b"{}", NOW).unwrap().uses, Some(1));
}

#[test]
fn what_no_token_can_be_is_named() {
    let long = "x".repeat(4_096);
    for (form, body, field) in [
        (Form::Secret(Opens::Realtime), json!([]), "body"),
        (Form::Secret(Opens::Realtime), json!({"expires_after": {"seconds": 9}}), "expires_after.seconds"),
        (
            Form::Secret(Opens::Realtime),
            json!({"expires_after": {"seconds": 7_201}}),
            "expires_after.seconds",
        ),
        (Form::Secret(Opens::Realtime), json!({"expires_after": {"seconds": "60"}}), "expires_after.seconds"),
        (Form::Secret(Opens::Realtime), json!({"session": "m"}), "session"),
        (Form::Secret(Opens::Realtime), json!({"session": {"model": 1}}), "session.model"),
        (Form::Secret(Opens::Realtime), json!({"session": {"model": "a\nb"}}), "session.model"),
        (Form::Secret(Opens::Realtime), json!({"session": {"instructions": long}}), "session"),
        (Form::Secret(Opens::Realtime), json!({"uses": -1}), "uses"),
        (Form::Google, json!({"expireTime": "soon"}), "expireTime"),
        (Form::Google, json!({"expireTime": NOW.minus_ms(1).to_string()}), "expireTime"),
        (
            Form::Google,
            json!({"newSessionExpireTime": NOW.plus_ms(7_200_001).to_string()}),
            "newSessionExpireTime",
        ),
    ] {
        let read = form.read(body.to_string().as_bytes(), NOW);
        assert_eq!(read.map_err(|wrong| wrong.field), Err(field), "{body}");
    }
}

#[test]
fn a_token_is_given_in_the_words_in_which_it_was_asked_for() {
    let claims = Claims { session: Some(r#"{"type":"realtime","model":"m"}"#.into()), ..claims() };
    let token = claims.write(code);
    let expires_at = claims.starts_until.0 / 1_000;
    let given = Form::Secret(Opens::Realtime).answer(&token, &claims);
    assert_eq!(
        json!([given["value"], given["expires_at"], given["session"]["model"]]),
        json!([token, expires_at, "m"])
    );
    let given = Form::Beta(Opens::Realtime).answer(&token, &claims);
    assert_eq!(
        json!([given["client_secret"], given["model"]]),
        json!([{"value": token, "expires_at": expires_at}, "m"])
    );
    let given = Form::Google.answer(&token, &claims);
    assert_eq!(given["name"], format!("auth_tokens/{token}"));
}
