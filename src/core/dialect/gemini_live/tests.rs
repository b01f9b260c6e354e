use super::*;
use proptest::prelude::*;

fn told(event: &[u8]) -> Vec<ProviderEvent<'_>> {
    let mut all = Vec::new();
    GeminiLive.read(event, &mut |event| all.push(event));
    all
}

fn peeked(event: &str) -> Peek<'_> {
    GeminiLive.peek(event.as_bytes(), Rest::Nothing)
}

fn stated(usage: &str) -> Option<Usage> {
    let event = format!(r#"{{"usageMetadata":{usage}}}"#);
    match &told(event.as_bytes())[..] {
        [] => None,
        [ProviderEvent::Done { response: None, usage, .. }] => *usage,
        other => panic!("{other:?}"),
    }
}

#[test]
fn sound_alone_is_told_without_reading_it_and_nothing_else_is() {
    let sound =
        |bytes: u64| Peek::OutputDelta(OutputDelta { response: None, kind: OutputKind::Audio, bytes });
    let part = r#"{"serverContent":{"modelTurn":{"parts":[{"inlineData":{"mimeType":"audio/pcm;rate=24000","data":"AAAA""#;
    for (closing, peek) in [
        ("}}]}}}", sound(4)),
        (" } } ] } } }\n", sound(4)),
        (r#"}}]},"turnComplete":true}}"#, Peek::Whole),
        (r#"}}]}},"usageMetadata":{"promptTokenCount":1}}"#, Peek::Whole),
        (r#"}},{"text":"a"}]}}}"#, Peek::Whole),
    ] {
        assert_eq!(peeked(&format!("{part}{closing}")), peek, "{closing}");
    }
    let in_lines = "{\n  \"serverContent\": {\n    \"modelTurn\": {\n      \"parts\": [\n        {\n          \"inlineData\": {\n            \
        \"mimeType\": \"audio/pcm;rate=24000\",\n            \"data\": \"AAAAAA==\"\n          }\n        }\n      ]\n    }\n  }\n}\n";
    assert_eq!(peeked(in_lines), sound(8));
    for event in [
        r#"{"usageMetadata":{},"serverContent":{"modelTurn":{"parts":[]}}}"#,
        r#"{"serverContent":{"modelTurn":{"parts":[{"inlineData":{"mimeType":"image/png","data":"AAAA"}}]}}}"#,
        r#"{"setupComplete":{}}"#,
        "",
    ] {
        assert_eq!(peeked(event), Peek::Whole, "{event}");
    }
    let cut = format!("{part}}}}}]}}}}}}");
    for rest in [Rest::Bytes(1), Rest::Unknown] {
        assert_eq!(GeminiLive.peek(cut.as_bytes(), rest), Peek::Whole);
    }
}

#[test]
fn a_message_tells_what_stands_in_it_in_the_order_in_which_it_counts() {
    let done = |requests| {
        let usage = Usage { text_in: 7, requests, ..Usage::default() };
        ProviderEvent::Done { response: None, usage: Some(usage), terms: Terms::default() }
    };
    let resumable = |text| ProviderEvent::Resumable { handle: Handle::new(text).unwrap() };
    for (event, wanted) in [
        (
            r#"{"usageMetadata":{"promptTokenCount":7},"serverContent":{"turnComplete":true,"modelTurn":{"parts":[{"text":"abc","thought":true},
                {"inlineData":{"data":"AAAAAAAA","mimeType":"audio/pcm"}},{"inlineData":{"mimeType":"image/png","data":"AA"}}]}}}"#,
            vec![
                output(OutputKind::Text, 3),
                output(OutputKind::Audio, 8),
                output(OutputKind::Audio, 0),
                done(1),
            ],
        ),
        (r#"{"toolCall":{"a":1}}"#, vec![output(OutputKind::Text, 7)]),
        (r#"{"serverContent":{"turnComplete":true}}"#, vec![ProviderEvent::Finished]),
        (r#"{"serverContent":{"turnComplete":false}}"#, vec![]),
        (r#"{"serverContent":{"turnComplete":true},"usageMetadata":{}}"#, vec![ProviderEvent::Finished]),
        (r#"{"serverContent":{"interrupted":true}}"#, vec![]),
        (r#"{"serverContent":{"turnComplete":tr"#, vec![ProviderEvent::Unreadable]),
        (r#"{"goAway":{"timeLeft":"9s"}}"#, vec![]),
        (r#"{"sessionResumptionUpdate":{"newHandle":"h1","resumable":true}}"#, vec![resumable("h1")]),
        (
            r#"{"sessionResumptionUpdate":{"resumable":true,"newHandle":"h2"},"usageMetadata":{"promptTokenCount":7}}"#,
            vec![done(1), resumable("h2")],
        ),
        (r#"{"sessionResumptionUpdate":{"newHandle":"","resumable":false}}"#, vec![]),
        (r#"{"sessionResumptionUpdate":{}}"#, vec![]),
        (r#"{"sessionResumptionUpdate":{"newHandle":"h"#, vec![ProviderEvent::Unreadable]),
    ] {
        assert_eq!(told(event.as_bytes()), wanted, "{event}");
    }
}

#[test]
fn usage_is_read_under_both_names_and_where_details_do_not_add_up() {
    let usage = |usage: Usage| Some(Usage { requests: 1, ..usage });
    for (object, wanted) in [
        (r#"{}"#, None),
        (r#"{"trafficType":"ON_DEMAND"}"#, None),
        (r#"{"promptTokenCount":9}"#, usage(Usage { text_in: 9, ..Usage::default() })),
        (
            r#"{"promptTokenCount":9,"candidatesTokenCount":5,"candidatesTokensDetails":[{"modality":"AUDIO","tokenCount":4}]}"#,
            usage(Usage { text_in: 9, text_out: 1, audio_out: 4, ..Usage::default() }),
        ),
        (
            r#"{"promptTokenCount":9,"responseTokenCount":5,"thoughtsTokenCount":3,"toolUsePromptTokenCount":2}"#,
            usage(Usage { text_in: 11, text_out: 8, reasoning_out: 3, ..Usage::default() }),
        ),
        (
            r#"{"promptTokenCount":10,"promptTokensDetails":[{"modality":"AUDIO"},{"modality":"TEXT","tokenCount":4}]}"#,
            usage(Usage { text_in: 4, audio_in: 6, ..Usage::default() }),
        ),
        (
            r#"{"promptTokenCount":10,"cachedContentTokenCount":6,"promptTokensDetails":[{"modality":"AUDIO","tokenCount":7}],"cacheTokensDetails":[{"modality":"AUDIO","tokenCount":5}]}"#,
            usage(Usage {
                text_in: 3,
                audio_in: 7,
                cached_text_in: 1,
                cached_audio_in: 5,
                ..Usage::default()
            }),
        ),
        (
            r#"{"promptTokenCount":10,"totalTokenCount":14}"#,
            usage(Usage { text_in: 10, text_out: 4, ..Usage::default() }),
        ),
        (
            r#"{"promptTokenCount":4,"promptTokensDetails":[{"modality":"VIDEO","tokenCount":1},{"modality":"IMAGE","tokenCount":1},{"modality":"DOCUMENT","tokenCount":2}]}"#,
            usage(Usage { text_in: 2, image_in: 1, video_in: 1, ..Usage::default() }),
        ),
    ] {
        assert_eq!(stated(object), wanted, "{object}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_fail(bytes: Vec<u8>) {
        told(&bytes);
        GeminiLive.peek(&bytes, Rest::Nothing);
    }
}

#[test]
fn each_query_that_the_web_was_searched_for_counts_and_so_does_the_tier() {
    let grounded = |metadata: &str| {
        let event = format!(r#"{{"serverContent":{{"groundingMetadata":{metadata},"turnComplete":true}}}}"#);
        told(event.as_bytes()).iter().map(|event| format!("{event:?}")).collect::<Vec<_>>()
    };
    assert_eq!(grounded(r#"{"webSearchQueries":["a","b \"c\""]}"#), ["Searched { searches: 2 }", "Finished"]);
    for nothing in
        [r#"{"webSearchQueries":[]}"#, r#"{"groundingChunks":[{"webSearchQueries":["a"]}]}"#, "null"]
    {
        assert_eq!(grounded(nothing), ["Finished"], "{nothing}");
    }
    let tier = |traffic: &str| {
        let event = format!(r#"{{"usageMetadata":{{"promptTokenCount":1,"trafficType":"{traffic}"}}}}"#);
        match &told(event.as_bytes())[..] {
            [ProviderEvent::Done { terms, .. }] => terms.to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(tier("ON_DEMAND_PRIORITY"), "service_tier=priority");
    assert_eq!(tier("ON_DEMAND_FLEX"), "service_tier=flex");
    assert_eq!((tier("ON_DEMAND"), tier("PROVISIONED_THROUGHPUT")), (String::new(), String::new()));
}
