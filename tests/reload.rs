//! SIGHUP reads certificates and prices again, each file by itself; what cannot be read leaves the old in force and is told
//! until it can, and sessions live on.

use serde_json::json;
use std::fs;
use tokenist_kit::{
    Certificate, Client, Handshake, PATIENCE, Provider, Scratch, Signal, Tokenist, eventually, leaf,
};

const REFUSED: &str = "nothing was read again";

fn start(provider: &Provider, certificate: &Certificate, more: &[(&str, &str)]) -> Tokenist {
    let path = |path: &std::path::Path| path.to_str().expect("a path in UTF-8").to_owned();
    let (cert, key) = (path(&certificate.certificate), path(&certificate.key));
    let tls = [("proxy.tls_listen", "127.0.0.1:0"), ("proxy.tls_cert", &*cert), ("proxy.tls_key", &*key)];
    Tokenist::start(&provider.origin(), &[&tls, more].concat())
}

#[test]
fn new_certificates_are_shown_to_new_clients_and_old_sessions_go_on() {
    let provider = Provider::start(&[]);
    let scratch = Scratch::new();
    let first = Certificate::write(&scratch);
    let tokenist = start(&provider, &first, &[]);
    let address = tokenist.tls_listen.expect("it listens in TLS");
    let old_trust = first.trust();
    let mut old = Client::open_tls(address, old_trust.clone(), &Handshake::of("alice")).expect("let in");
    old.turn("").unwrap();

    let second = Certificate::write(&scratch);
    let new_trust = second.trust();
    assert!(leaf(address, new_trust.clone()).is_none(), "files alone change nothing");
    tokenist.signal(Signal::Hangup);
    let shown = || leaf(address, new_trust.clone());
    assert!(eventually(PATIENCE, shown, Option::is_some).is_some(), "the new certificate is shown");
    assert!(leaf(address, old_trust).is_none(), "the old one is not");
    old.turn("chunks=50").unwrap();
    let mut new = Client::open_tls(address, new_trust.clone(), &Handshake::of("bob")).expect("let in");
    new.turn("").unwrap();

    fs::write(&second.certificate, "no certificate").unwrap();
    tokenist.signal(Signal::Hangup);
    tokenist.logged(REFUSED);
    assert!(leaf(address, new_trust).is_some(), "the last good one stays");
    old.leave();
    new.leave();
}

#[test]
fn new_prices_hold_for_what_comes_after_them() {
    let provider = Provider::start(&[]);
    let scratch = Scratch::new();
    let certificate = Certificate::write(&scratch);
    let file = scratch.path().join("prices.csv");
    let set_price = |usd: u32| {
        let rows =
            format!("model,text_in,text_out,audio_in,audio_out\ngpt-realtime,{usd},{usd},{usd},{usd}\n");
        fs::write(&file, rows).unwrap();
    };
    set_price(1);
    let prices_file = [("metering.prices_file", file.to_str().expect("a path in UTF-8"))];
    let tokenist = start(&provider, &certificate, &prices_file);
    // A million tokens cost as many dollars as the price says.
    let turn =
        "chunks=0,text_in=0,cached_text=0,audio_in=1000000,cached_audio=0,image_in=0,text_out=0,audio_out=0";
    let cost = |user: &str| {
        let mut client = tokenist.session(user).unwrap();
        client.turn(turn).unwrap();
        client.leave();
        let page = || tokenist.get(&format!("/admin/users/{user}/usage"))["usage"]["costUsd"].as_f64();
        eventually(PATIENCE, page, |cost| cost.is_some_and(|cost| cost > 0.0))
    };
    assert_eq!(cost("before"), Some(1.0));
    set_price(3);
    tokenist.signal(Signal::Hangup);
    let reread = "certificates and prices were read again";
    tokenist.logged(reread);
    assert_eq!(cost("after"), Some(3.0));

    // What is set over the API goes before the file, also once that is read again.
    let by_api = json!({"model": "gpt-realtime", "usdPerMillion": {"audioIn": 7}});
    assert_eq!(tokenist.ask("PUT", "/admin/prices", &by_api).status, 200);
    assert_eq!(cost("by-api"), Some(7.0));
    tokenist.signal(Signal::Hangup);
    tokenist.logged_times(2, reread);
    assert_eq!(cost("after-both"), Some(7.0));
}

#[test]
fn each_file_is_taken_by_itself_and_what_was_not_is_told_until_it_is_mended() {
    let provider = Provider::start(&[]);
    let scratch = Scratch::new();
    let first = Certificate::write(&scratch);
    let prices = scratch.path().join("prices.csv");
    let good = "model,text_in,text_out,audio_in,audio_out\ngpt-realtime,1,1,1,1\n";
    fs::write(&prices, good).unwrap();
    let prices_file = [("metering.prices_file", prices.to_str().expect("a path in UTF-8"))];
    let tokenist = start(&provider, &first, &prices_file);
    let address = tokenist.tls_listen.expect("it listens in TLS");
    let stale = || {
        let files = tokenist.get("/health")["staleFiles"].clone();
        let settings = files.as_array().into_iter().flatten().map(|file| {
            assert!(
                file["since"].is_string() && file["reason"].as_str().is_some_and(|why| why.contains('/'))
            );
            file["setting"].as_str().unwrap().to_owned()
        });
        settings.collect::<Vec<_>>()
    };
    let reload_until = |expected: &[&str]| {
        tokenist.signal(Signal::Hangup);
        assert_eq!(eventually(PATIENCE, stale, |stale| stale == expected), expected);
        assert_eq!(tokenist.metric("tokenist_files_stale"), Some(expected.len() as f64));
    };
    assert_eq!(stale(), Vec::<String>::new());

    // A broken price list keeps no certificate out.
    fs::write(&prices, "no prices").unwrap();
    let second = Certificate::write(&scratch);
    let trust = second.trust();
    reload_until(&["metering.prices_file"]);
    assert!(leaf(address, trust.clone()).is_some(), "the new certificate is shown");

    // Nor a broken certificate a price list; both are told while both are broken.
    fs::write(&second.certificate, "no certificate").unwrap();
    reload_until(&["metering.prices_file", "proxy.tls_cert and proxy.tls_key"]);
    let dearer = "model,text_in,text_out,audio_in,audio_out\ngpt-realtime,9,9,9,9\n";
    fs::write(&prices, dearer).unwrap();
    reload_until(&["proxy.tls_cert and proxy.tls_key"]);
    let listed = tokenist.get("/admin/prices");
    assert!(listed.to_string().contains("\"source\":\"file\""), "{listed}");
    assert!(leaf(address, trust).is_some(), "the last good one stays");

    Certificate::write(&scratch);
    reload_until(&[]);
}
