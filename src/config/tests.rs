use super::*;
use tokenist_core::limit::WindowKind;

fn check(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let environment = environment.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    parse("tokenist.toml", text, environment).map_err(|error| error.to_string())
}

#[test]
fn an_empty_file_is_the_defaults() {
    let config = check("", &[]).unwrap();
    assert_eq!(config.limits.max_cost_usd, 10.0);
    assert_eq!(config.provider, [Provider::default()]);
}

#[test]
fn a_key_that_is_not_known_is_refused_with_the_nearest() {
    for (text, message) in [
        (
            "[proxy]\nlisten_on = \"x\"",
            "tokenist.toml, line 2: unknown key `proxy.listen_on`; did you mean `proxy.listen`?",
        ),
        ("[prox]\n", "tokenist.toml, line 1: unknown section `prox`; did you mean `proxy`?"),
        (
            "[[provider]]\nurl = \"x\"",
            "tokenist.toml, line 2: unknown key `provider.url`; did you mean `provider.base_url`?",
        ),
        ("[provider]\n", "tokenist.toml, line 1: write `[[provider]]`, in double brackets"),
        ("[proxy]\ntick_ms = 0", "tokenist.toml, line 2: proxy.tick_ms must be at least 1"),
        ("[[provider]]\nname = \"\"", "tokenist.toml, line 2: provider.name is empty"),
        ("[[provider]]\nname = \"a \"", "tokenist.toml, line 2: provider.name is read as \"a\": write it so"),
        (
            "[store]\nredis_uri = \"localhost:6379\"",
            "tokenist.toml, line 2: store.redis_uri: is no Redis address; write redis://[user:password@]host[:port][/database]",
        ),
        ("[store]\npath = \"\"", "tokenist.toml, line 2: store.path must name a folder for the ledger"),
        (
            "[store]\nkind = \"mongodb\"",
            "tokenist.toml, line 2: store.kind = \"mongodb\" needs store.mongodb_uri, such as \"mongodb://host:27017/\"",
        ),
        (
            "[store]\nmongodb_uri = \"mongodb://host/\"",
            "tokenist.toml, line 2: store.mongodb_uri is used with store.kind = \"mongodb\" only; set that, or leave it out",
        ),
        (
            "[proxy]\nlisten = \"here\"",
            "tokenist.toml, line 2: proxy.listen = \"here\" is not an address and a port, such as \"127.0.0.1:8080\"",
        ),
        (
            "[[provider]]\nbase_url = \"api.openai.com\"",
            "tokenist.toml, line 2: provider.base_url = \"api.openai.com\" of openai is not http(s)://host[:port] with no path behind",
        ),
        (
            "[proxy]\ntrusted_proxies = \"10.0.0.0/8, lb\"",
            "tokenist.toml, line 2: proxy.trusted_proxies: \"lb\" is no address and no network, such as 10.0.0.0/8 or 2001:db8::1",
        ),
        (
            "[proxy]\nproxy_protocol = true",
            "tokenist.toml, line 2: proxy.proxy_protocol needs proxy.trusted_proxies: the addresses of those that speak it",
        ),
        (
            "[[provider]]\nheaders = \"x-trace, cookie\"",
            "tokenist.toml, line 2: provider.headers: \"cookie\" is read or written by tokenist itself and never passes",
        ),
        (
            "[[provider]]\nterms = \"tier=flex\"",
            "tokenist.toml, line 2: provider.terms: `tier=flex` is not NAME=VALUE with one of these names: service_tier, \
             processing, speed, inference_geo, endpoint, deployment, region, transport, state, language",
        ),
        (
            "[[provider]]\ndialect = \"openai_like\"\nbase_url = \"http://h\"\nusage = \"response..usage\"",
            "tokenist.toml, line 4: provider.usage: \"response..usage\" is no place in an event; write the keys that lead to it, \
             such as \"response.usage\"",
        ),
        (
            "[[provider]]\ndialect = \"azure\"",
            "tokenist.toml, line 1: provider.base_url of azure has to be set: http(s)://host[:port] with no path behind",
        ),
        (
            "[[provider]]\nname = \"a\"\n[[provider]]\nname = \"b\"\n[[provider]]\nname = \"a\"",
            "tokenist.toml, line 6: provider.name = \"a\" is given twice; each needs its own",
        ),
        (
            "[[provider]]\ndialect = \"openai\"\n[[provider]]\nmodels = \"gpt-*\"",
            "tokenist.toml, line 3: provider.name = \"openai\" is given twice; each needs its own",
        ),
        (
            "[proxy]\nlisten = \"0.0.0.0:8080\"\n[webrtc]\nmode = \"relay\"",
            "tokenist.toml, line 3: webrtc.public_ips: webrtc.mode = \"relay\" needs the addresses under which browsers reach \
             this machine",
        ),
        (
            "[webrtc]\nmode = \"relay\"\npublic_ips = \"203.0.113.7, here\"",
            "tokenist.toml, line 3: webrtc.public_ips: \"here\" is no address of a machine, such as 203.0.113.7 or 2001:db8::1",
        ),
        (
            "[webrtc]\nudp_port = 3478",
            "tokenist.toml, line 2: webrtc.udp_port is used with webrtc.mode = \"relay\" only",
        ),
        (
            "[[provider]]\nauth = \"xi-api-key\"",
            "tokenist.toml, line 2: provider.auth = \"xi-api-key\" is none of \"bearer\", \"api-key\", \"x-goog-api-key\", \
             \"basic\", \"token\", \"bare\", \"header:NAME\"",
        ),
    ] {
        assert_eq!(check(text, &[]).unwrap_err(), message);
    }
}

#[test]
fn relayed_calls_are_sent_where_browsers_reach_this_machine() {
    for (text, wanted) in [
        ("", vec!["127.0.0.1"]),
        ("[proxy]\nlisten = \"[::1]:8080\"", vec!["::1"]),
        (
            "[webrtc]\npublic_ips = \"203.0.113.7, 2001:db8::1\"\nmode = \"relay\"",
            vec!["203.0.113.7", "2001:db8::1"],
        ),
    ] {
        let config = check(text, &[("TOKENIST_WEBRTC_MODE", "relay")]).unwrap();
        let addresses = config.webrtc.addresses([&config.proxy.listen, &config.proxy.tls_listen]).unwrap();
        assert_eq!(addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), wanted, "{text}");
    }
}

#[test]
fn a_value_of_another_form_is_refused_with_its_line_and_the_right_one() {
    for (text, message) in [
        (
            "[proxy]\ntick_ms = \"fast\"",
            "2: proxy.tick_ms = \"fast\" is not a whole number; write it without quotes, such as tick_ms = 100",
        ),
        (
            "[limits]\nmax_cost_usd = \"5\"",
            "2: limits.max_cost_usd = \"5\" is not a number; write it without quotes, such as max_cost_usd = 10.0",
        ),
        (
            "[identity]\n\nquery = \"yes\"",
            "3: identity.query = \"yes\" is not true or false; write it without quotes, such as query = false",
        ),
        (
            "[proxy]\nlisten = 8080",
            "2: proxy.listen = 8080 is no text; write it in quotes, such as listen = \"127.0.0.1:8080\"",
        ),
        (
            "[[provider]]\n[[provider]]\nmodels = [\"gpt-4o\", \"gpt-realtime*\"]",
            "3: provider.models is a list; write one text, of several with commas between, such as models = \
             \"gpt-4o, gpt-realtime*\"",
        ),
        (
            "[limits]\nwindow = \"hourly\"",
            "2: limits.window = \"hourly\" is none of \"daily\", \"monthly\", \"rolling_24h\", \"total\"",
        ),
        ("[proxy]\nsession_max = -1", "2: proxy.session_max = -1 is less than 0, the least that there is"),
        (
            "[store]\ninstances_min = 5000000000",
            "2: store.instances_min = 5000000000 is more than 4294967295, the most that there is",
        ),
        ("provider = [\"openai\"]", "1: write `[[provider]]`, in double brackets"),
        ("[[proxy]]", "1: write `[proxy]`, in single brackets"),
    ] {
        assert_eq!(check(text, &[]).unwrap_err(), format!("tokenist.toml, line {message}"));
    }
    for (name, text, message) in [
        ("TOKENIST_LIMITS_MODE", "strict", "limits.mode = \"strict\" is none of \"enforce\", \"warn\""),
        ("TOKENIST_PROXY_TICK_MS", "0", "proxy.tick_ms must be at least 1"),
    ] {
        let told = check("[proxy]\ntick_ms = 5", &[(name, text)]).unwrap_err();
        assert_eq!(told, format!("{name}: {message}"));
    }
}

#[test]
fn of_several_providers_the_line_of_the_wrong_one_is_told() {
    let text = "[[provider]]\n[[provider]]\nname = \"b\"\nauth = \"none\"";
    let told = check(text, &[]).unwrap_err();
    assert!(told.starts_with("tokenist.toml, line 4: provider.auth"), "{told}");
}

#[test]
fn the_environment_goes_before_the_file() {
    let config = check(
        "[proxy]\nlisten = \"127.0.0.1:1\"\n[[provider]]\nname = \"sim\"",
        &[
            ("TOKENIST_PROXY_LISTEN", "127.0.0.1:2"),
            ("TOKENIST_LIMITS_MAX_COST_USD", "3"),
            ("TOKENIST_LIMITS_WINDOW", "rolling_24h"),
            ("TOKENIST_IDENTITY_QUERY", "true"),
            ("TOKENIST_PROVIDER_BASE_URL", "http://localhost:9"),
            ("TOKENIST_SERVICE_HOST", "10.0.0.1"),
        ],
    )
    .unwrap();
    assert_eq!(config.proxy.listen, "127.0.0.1:2");
    assert_eq!((config.limits.max_cost_usd, config.limits.window), (3.0, WindowKind::Rolling24h));
    assert!(config.identity.query);
    assert_eq!((&*config.provider[0].name, &*config.provider[0].base_url), ("sim", "http://localhost:9"));
    assert_eq!(
        check("", &[("TOKENIST_PROXY_LISTN", "x")]).unwrap_err(),
        "TOKENIST_PROXY_LISTN: unknown key `TOKENIST_PROXY_LISTN`; did you mean `TOKENIST_PROXY_LISTEN`?"
    );
    assert_eq!(
        check("", &[("TOKENIST_LIMIT_MAX_COST_USD", "1")]).unwrap_err(),
        "TOKENIST_LIMIT_MAX_COST_USD: unknown key `TOKENIST_LIMIT_MAX_COST_USD`; did you mean `TOKENIST_LIMITS_MAX_COST_USD`?"
    );
    assert_eq!(
        check("", &[("TOKENIST_PROXY_TICK_MS", "x")]).unwrap_err(),
        "TOKENIST_PROXY_TICK_MS: \"x\" is not a whole number"
    );
}

#[test]
fn what_is_in_force_is_itself_a_configuration() {
    let defaults = check("", &[]).unwrap();
    assert_eq!(check(&effective(&defaults), &[]).unwrap(), defaults);
}

#[test]
fn two_listeners_never_share_a_port() {
    let wrong = |text: &str| check(text, &[]).unwrap_err();
    for (proxy, admin) in [
        ("127.0.0.1:9000", "127.0.0.1:9000"),
        ("0.0.0.0:9000", "127.0.0.1:9000"),
        ("[::1]:9000", "[::]:9000"),
        ("0.0.0.0:9000", "[::]:9000"),
    ] {
        let text = format!("[proxy]\nlisten = {proxy:?}\n[admin]\nlisten = {admin:?}");
        assert_eq!(
            wrong(&text),
            "tokenist.toml, line 2: proxy.listen and admin.listen are both on port 9000; each needs its own"
        );
    }
    let tls = "[proxy]\nlisten = \"127.0.0.1:9000\"\ntls_listen = \"0.0.0.0:9000\"\ntls_cert = \"c\"\ntls_key = \"k\"";
    assert!(wrong(tls).contains("proxy.listen and proxy.tls_listen"), "{}", wrong(tls));
    for (proxy, admin) in [("127.0.0.1:9000", "127.0.0.2:9000"), ("127.0.0.1:0", "127.0.0.1:0")] {
        let text = format!("[proxy]\nlisten = {proxy:?}\n[admin]\nlisten = {admin:?}");
        assert!(check(&text, &[]).is_ok(), "{text}");
    }
    assert!(wrong("[admin]\nlisten = \"\"").contains("admin.listen"));
}

#[test]
fn what_is_in_force_shows_no_secret() {
    let text = "[admin]\ntoken = \"very-secret\"\n[store]\nkind = \"mongodb\"\nmongodb_uri = \"mongodb://me:very-secret@h/\"";
    let config = check(text, &[]).unwrap();
    let shown = effective(&config);
    assert!(!shown.contains("very-secret") && shown.contains("token = \"(set)\""), "{shown}");
    assert!(shown.contains("mongodb_uri = \"mongodb://(set)@h/\""), "{shown}");
    assert!(!format!("{config:?}").contains("very-secret"));
    let config = check("[store]\nredis_uri = \"redis://u:very-secret@h:1\"", &[]).unwrap();
    let token = ("admin".to_owned(), "token".to_owned(), "(set)".into());
    assert!(in_force(&config).contains(&token) || config.admin.token.is_empty());
    assert!(effective(&config).contains("redis_uri = \"redis://(set)@h:1\""));
    assert!(!format!("{config:?}").contains("very-secret"));
}

#[test]
fn what_is_wrong_is_told_without_the_secret_in_it() {
    for (text, why) in [
        ("[store]\nredis_uri = \"http://u:very-secret@h\"", "is no Redis address"),
        ("[store]\nredis_uri = \"redis://u:very-secret", "no TOML at line 2, column"),
        ("[store]\nredis_uri = redis://u:very-secret@h", "no TOML at line 2, column"),
        ("[store]\nmongodb_uri = [\"mongodb://u:very-secret@h\"]", "store.mongodb_uri must be a text"),
        ("[admin]\ntoken = very-secret-token", "no TOML at line 2, column"),
        ("[admin]\ntoken = [\"very-secret-token\"]", "admin.token must be a text"),
        (
            "[[provider]]\nbase_url = \"https://u:very-secret@api.example\"",
            "provider.base_url = \"https://(set)@api.example\" of openai is not http(s)://host[:port]",
        ),
        (
            "[[provider]]\nbase_url = \"https://api.example/v1?key=very-secret\"",
            "provider.base_url = \"https://api.example/v1\" of openai is not http(s)://host[:port]",
        ),
        ("[[provider]]\nbase_url = \"https://u:very-secret\"", "provider.base_url = \"https://(set)\""),
        (
            "[admin]\ncors_origins = \"https://a.example, https://u:very-secret@ops.example\"",
            "admin.cors_origins: \"https://(set)@ops.example\" is no origin",
        ),
        ("[[provider]]\nbase_url = [\"very-secret\"]", "provider.base_url must be a text"),
        (
            "[[provider]]\napi_key_env = \"sk-very-secret\"",
            "provider.api_key_env is the name of an environment",
        ),
    ] {
        let wrong = check(text, &[]).unwrap_err();
        assert!(wrong.contains(why) && !wrong.contains("very-secret"), "{text}: {wrong}");
    }
    let url = ("TOKENIST_PROVIDER_BASE_URL", "https://u:very-secret@api.example");
    let wrong = check("", &[url]).unwrap_err();
    assert!(wrong.contains("provider.base_url") && !wrong.contains("very-secret"), "{wrong}");
}

#[test]
fn rollups_that_a_restart_needs_have_to_be_kept() {
    for (days, accepted) in [(0, true), (1, false), (2, false), (3, true), (400, true)] {
        let config = check(&format!("[store]\nrollups_days = {days}"), &[]);
        assert_eq!(config.is_ok(), accepted, "{days} days: {config:?}");
        if let Err(said) = config {
            assert!(said.contains("store.rollups_days") && said.contains("3 days"), "{said}");
        }
    }
    assert!(check("[store]\nrollups_days = 1\nkind = \"memory\"", &[]).is_ok(), "nothing is removed there");
}

#[test]
fn origins_have_a_scheme_a_host_and_a_port() {
    let origin = |tls, host: &str, port| Some(Origin { tls, host: host.into(), port });
    assert_eq!(Origin::parse("https://api.openai.com"), origin(true, "api.openai.com", 443));
    assert_eq!(Origin::parse("http://127.0.0.1:9000/"), origin(false, "127.0.0.1", 9000));
    assert_eq!(Origin::parse("https://user@host"), None);
    assert_eq!(Origin::parse("https://host/path"), None);
    assert_eq!(Origin::parse("https://host\r\nx:1"), None);
}
