//! Arbitrary heads: nothing may panic, what is taken has one reading only, and a body ends at the same byte however it
//! is split.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tokenist_core::http::{
    Body, HEAD_BYTES_MAX, HEADER_COUNT_MAX, head_end, query, request_head, response_head,
};

fuzz_target!(|bytes: &[u8]| {
    let Ok(Some(end)) = head_end(bytes) else { return };
    assert!(end <= HEAD_BYTES_MAX);
    let (head, rest) = bytes.split_at(end);
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
    }
    if let Ok(response) = response_head(head) {
        let mut whole = Body::of(&response);
        let taken = whole.advance(rest);
        assert!(taken <= rest.len());
        for step in [1, 2, 7] {
            let (mut body, mut sum) = (Body::of(&response), 0);
            for piece in rest.chunks(step) {
                let part = body.advance(piece);
                sum += part;
                if part < piece.len() {
                    assert!(body.is_done());
                    break;
                }
            }
            assert_eq!((sum, body.is_done()), (taken, whole.is_done()), "in steps of {step}");
        }
    }
});
