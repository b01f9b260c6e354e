//! Which paths are Google's, and where they name their model.

use super::*;

#[test]
fn a_path_names_the_model_and_is_told_from_a_list_of_models() {
    for (method, path, wanted) in [
        (
            "POST",
            "/v1/models/m:generateContent",
            Some(("generate_content", "/v1/models/m:generateContent", Some("m"))),
        ),
        (
            "POST",
            "/x/v1beta/models/m:streamGenerateContent",
            Some(("generate_content", "/v1beta/models/m:streamGenerateContent", Some("m"))),
        ),
        (
            "POST",
            "/models/m:generateContent",
            Some(("generate_content", "/v1beta/models/m:generateContent", Some("m"))),
        ),
        (
            "POST",
            "/v1/projects/p/locations/l/publishers/google/models/m:generateContent",
            Some((
                "generate_content",
                "/v1/projects/p/locations/l/publishers/google/models/m:generateContent",
                Some("m"),
            )),
        ),
        (
            "POST",
            "/v1beta/models/m:countTokens",
            Some(("count_tokens", "/v1beta/models/m:countTokens", Some("m"))),
        ),
        (
            "POST",
            "/v1beta/models/m:embedContent",
            Some(("embeddings", "/v1beta/models/m:embedContent", Some("m"))),
        ),
        ("GET", "/v1/models", Some(("models", "/v1/models", None))),
        ("GET", "/v1/models/m", Some(("models", "/v1/models/m", None))),
        ("POST", "/v1beta/interactions", Some(("interactions", "/v1beta/interactions", None))),
        ("GET", "/v1beta/interactions/i", Some(("interactions", "/v1beta/interactions/i", None))),
        ("DELETE", "/v1beta/interactions/i", Some(("interactions", "/v1beta/interactions/i", None))),
        ("POST", "/v1beta/models/m:predict", None),
        ("POST", "/v1beta/models/a%2Fb:generateContent", None),
        ("POST", "/v1/models", None),
        (
            "GET",
            "/v1beta/models/m:generateContent",
            Some(("models", "/v1beta/models/m:generateContent", None)),
        ),
    ] {
        let found = GoogleHttp.endpoint(method, path);
        let shown = found.as_ref().map(|found| (found.name(), found.path.as_str(), found.model.as_deref()));
        assert_eq!(shown, wanted, "{method} {path}");
    }
}

#[test]
fn a_path_that_names_two_models_is_refused() {
    for (path, is_refused) in [
        ("/v1beta/models/a:generateContent", false),
        ("/p/g/v1/projects/p/locations/l/publishers/google/models/a:generateContent", false),
        ("/v1/projects/p/locations/l/endpoints/1:generateContent", false),
        ("/v1beta/models/a/models/b:generateContent", true),
        ("/v1beta/tunedModels/a/models/b:streamGenerateContent", true),
    ] {
        let head = crate::http::request_head(format!("POST {path} HTTP/1.1\r\n\r\n").as_bytes()).unwrap();
        assert!(GoogleHttp.endpoint("POST", &head.path()).is_some(), "{path}");
        let refused = GoogleHttp.hinders(&head);
        assert_eq!(refused.is_some_and(|why| why.contains("two models")), is_refused, "{path}");
    }
}

#[test]
fn thoughts_count_once_wherever_they_are_counted() {
    let usage = |json: &str| read_usage(Fields::of(json.as_bytes()), &mut Progress::default()).unwrap();
    for (json, out) in [
        (
            r#"{"promptTokenCount":10,"candidatesTokenCount":5,"thoughtsTokenCount":3,"totalTokenCount":18}"#,
            (8, 3),
        ),
        (
            r#"{"promptTokenCount":10,"candidatesTokenCount":5,"thoughtsTokenCount":3,"totalTokenCount":15}"#,
            (5, 3),
        ),
        (r#"{"promptTokenCount":10,"candidatesTokenCount":5,"thoughtsTokenCount":3}"#, (8, 3)),
        (
            r#"{"promptTokenCount":10,"candidatesTokenCount":5,"thoughtsTokenCount":3,"totalTokenCount":15,
                "candidatesTokensDetails":[{"modality":"TEXT","tokenCount":5}]}"#,
            (5, 3),
        ),
    ] {
        let Usage { text_in, text_out, reasoning_out, .. } = usage(json);
        assert_eq!((text_in, (text_out, reasoning_out)), (10, out), "{json}");
    }
}

#[test]
fn what_would_hide_usage_is_told() {
    for (line, hinders) in [
        ("?alt=sse&key=k", false),
        ("?alt=json", false),
        ("?alt=proto", true),
        ("?%24alt=proto", true),
        ("?fields=candidates", true),
        ("?$callback=f", true),
        ("?field=x", false),
        (" HTTP/1.1\r\nx-goog-fieldmask: candidates\r\nx: ?", true),
    ] {
        let head = format!("POST /v1/models/m:generateContent{line} HTTP/1.1\r\nHost: h\r\n\r\n");
        let head = crate::http::request_head(head.as_bytes()).unwrap();
        assert_eq!(GoogleHttp.hinders(&head).is_some(), hinders, "{line}");
    }
}
