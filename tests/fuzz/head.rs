//! Arbitrary heads: nothing may panic, and what is taken has one reading only.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tokenist_core::http::body::Framing;
use tokenist_core::http::{HEAD_BYTES_MAX, HEADER_COUNT_MAX, head_end, query, request_head, response_head};

fuzz_target!(|bytes: &[u8]| {
    let Ok(Some(end)) = head_end(bytes) else { return };
    assert!(end <= HEAD_BYTES_MAX);
    let head = &bytes[..end];
    assert!(head.ends_with(b"\r\n\r\n"));
    if let Ok(request) = request_head(head) {
        assert!(request.headers.0.len() <= HEADER_COUNT_MAX);
        for header in &request.headers.0 {
            let name = header.name.as_str();
            assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()));
            assert!(!header.value.as_bytes().iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
        }
        assert!(!request.target.bytes().any(|byte| byte.is_ascii_whitespace()));
        assert!(!request.path().contains("//"));
        for parameter in request.query() {
            query::decode(parameter.value());
        }
        if let Ok(joined) = query::joined(&request.target, |_| true) {
            assert!(query::parameters(&joined).all(|parameter| !parameter.value().contains('?')));
        }
        if let Ok(key) = request.websocket_key() {
            assert!(request.method == "GET" && key.len() == 24);
        }
        let offers = request.headers.tokens("sec-websocket-protocol");
        assert!(offers.into_iter().all(|token| !token.is_empty() && !token.contains(',')));
        let lengths = request.headers.0.iter().filter(|header| header.is("content-length")).count();
        let coded = request.headers.get("transfer-encoding").is_some();
        assert!(lengths == 0 || (lengths == 1 && !coded), "two parsers could read this differently");
        assert_ne!(Framing::of_request(&request), Ok(Framing::UntilClose));
    }
    if let Ok(response) = response_head(head) {
        for method in ["GET", "HEAD"] {
            drop(Framing::of_answer(&response, method));
        }
    }
});
