//! What is said to the simulated service, in the spellings of its SDKs, and what it answers.

use super::usage::{Telling, metadata};
use super::{Front, front};
use crate::http;
use crate::link::{self, Bytes, Outbox};
use crate::provider::formula::{Spoken, Turn};
use crate::provider::sim::Sim;
use crate::provider::{self, Bound};
use crate::runtime;
use crate::talk::told_by_gemini as told;
use crate::ws::{BINARY, CLOSE, End, FIN, Inbound, TEXT, close_payload};
use serde_json::{Value, json};
use std::rc::Rc;
use tokenist_core::usage::Usage;

const DEVELOPER: &str = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent";
const VERTEX: &str = "/ws/google.cloud.aiplatform.v1beta1.LlmBidiService/BidiGenerateContent";
const SETUP: &str = r#"{"setup":{"model":"models/gemini-3.8-live"}}"#;

fn start(sim: &str) -> Bound {
    let sim = Sim::default().with(sim).unwrap();
    let listen = "127.0.0.1:0".parse().unwrap();
    let key = Some("AIza".to_owned());
    provider::start(provider::Options { listen, tls: None, shard_count: 1, seed: 7, key, beta: false, sim })
        .unwrap()
}

/// A client that has been let in.
struct Client {
    bound: Bound,
    inbound: Inbound,
    outbox: Rc<Outbox>,
    /// The sum of what it was told.
    used: Usage,
}

impl Client {
    async fn connect(bound: Bound, target: &str, header: &str) -> Result<Client, (u16, Value)> {
        let link = link::connect(bound.listen, None).await.unwrap();
        let (mut inbound, outbox) = (Inbound::new(link.read), Outbox::start(link.write));
        let upgrade = format!(
            "GET {target} HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: {}\r\n{header}\r\n\r\n",
            crate::target::NONCE
        );
        outbox.put(Bytes::Owned(upgrade.into_bytes()));
        let response = http::read_response(&mut inbound).await.unwrap();
        match response.status {
            101 => Ok(Client { bound, inbound, outbox, used: Usage::default() }),
            status => Err((status, serde_json::from_slice(&response.body).unwrap())),
        }
    }

    async fn open(bound: Bound, target: &str) -> Client {
        Client::connect(bound, target, "x-goog-api-key: AIza").await.unwrap()
    }

    fn send(&self, opcode: u8, payload: &[u8]) {
        let mut frame = Vec::new();
        End::Client.frame(FIN | opcode, payload, &mut frame);
        self.outbox.put(Bytes::Owned(frame));
    }

    fn say(&self, message: &str) {
        self.send(TEXT, message.as_bytes());
    }

    async fn hear(&mut self) -> Result<Value, (u16, String)> {
        let message = self.inbound.message().await.unwrap().unwrap();
        match message.opcode {
            CLOSE => Err(message.close_reason()),
            opcode => {
                assert_eq!(opcode, BINARY, "messages come in binary frames");
                let message: Value = serde_json::from_slice(message.payload).unwrap();
                if message["usageMetadata"].as_object().is_some_and(|told| !told.is_empty()) {
                    self.used += told(&message["usageMetadata"]);
                }
                Ok(message)
            }
        }
    }

    /// Says something and hears as many messages as are expected.
    async fn exchange(&mut self, message: &str, expected: &[&str]) -> Vec<Value> {
        self.say(message);
        self.expect(message, expected).await
    }

    async fn expect(&mut self, after: &str, expected: &[&str]) -> Vec<Value> {
        let mut heard = Vec::new();
        for (index, expected) in expected.iter().enumerate() {
            let message = self.hear().await.unwrap_or_else(|closed| panic!("{after}: {closed:?}"));
            assert_eq!(summary(&message), *expected, "message {index} after {after}");
            heard.push(message);
        }
        heard
    }

    /// Leaves, and holds what it was told against the audit.
    async fn leave(mut self) -> Value {
        self.send(CLOSE, &close_payload(1000, ""));
        assert_eq!(self.hear().await, Err((1000, String::new())));
        let audit = audit(self.bound).await;
        assert_eq!(self.used, serde_json::from_value(audit["totals"].clone()).unwrap());
        audit
    }
}

async fn audit(bound: Bound) -> Value {
    let link = link::connect(bound.listen, None).await.unwrap();
    let (mut inbound, outbox) = (Inbound::new(link.read), Outbox::start(link.write));
    outbox.put(Bytes::Owned(b"GET /audit HTTP/1.1\r\nhost: x\r\n\r\n".to_vec()));
    serde_json::from_slice(&http::read_response(&mut inbound).await.unwrap().body).unwrap()
}

/// What a message says, in a word for each thing.
fn summary(message: &Value) -> String {
    let words = message.as_object().unwrap().iter().flat_map(|(name, body)| match name.as_str() {
        "serverContent" => body.as_object().unwrap().iter().map(|(name, body)| said(name, body)).collect(),
        _ => vec![name.clone()],
    });
    words.collect::<Vec<_>>().join(" ")
}

fn said(name: &str, body: &Value) -> String {
    let part = &body["parts"][0];
    match name {
        "modelTurn" if part["thought"] == true => "thought".to_owned(),
        "modelTurn" if part["text"].is_string() => "text".to_owned(),
        "modelTurn" => "audio".to_owned(),
        _ => name.to_owned(),
    }
}

#[test]
fn both_services_are_found_by_their_paths() {
    for (path, expected) in [
        (DEVELOPER, Some((Front::Developer, "v1beta"))),
        (
            "//ws/google.ai.generativelanguage.v1.GenerativeService.BidiGenerateContent",
            Some((Front::Developer, "v1")),
        ),
        (
            "/k/x/ws/google.ai.generativelanguage.v1alpha.GenerativeService.BidiGenerateContentConstrained",
            Some((Front::Developer, "v1alpha")),
        ),
        (VERTEX, Some((Front::Vertex, "v1beta1"))),
        ("/ws/google.cloud.aiplatform.v1.LlmBidiService/BidiGenerateContent/", Some((Front::Vertex, "v1"))),
        ("/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateMusic", None),
        ("/ws/google.cloud.aiplatform.v1.Other/BidiGenerateContent", None),
        ("/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent", None),
        ("/v1/realtime", None),
    ] {
        assert_eq!(front(path), expected.map(|(front, version)| (front, version.to_owned())), "{path}");
    }
}

/// What a python or a JS client says in a row, and what it hears after each.
type Rows = &'static [(&'static str, &'static [&'static str])];

const ANSWER: &[&str] = &["audio", "audio", "generationComplete", "turnComplete usageMetadata"];

const TALKS: [(&str, Rows); 5] = [
    // As google-genai for Python writes it, words in snake_case.
    (
        DEVELOPER,
        &[
            (SETUP, &["setupComplete"]),
            (
                r#"{"client_content":{"turns":[{"role":"user","parts":[{"text":"Hi"}]}],"turn_complete":true}}"#,
                ANSWER,
            ),
            (
                r#"{"realtime_input":{"audio":{"mime_type":"audio/pcm;rate=16000","data":"AAAAAAAAAAA="}}}"#,
                &[],
            ),
            (r#"{"realtime_input":{"audio_stream_end":true}}"#, ANSWER),
        ],
    ),
    // As @google/genai writes it.
    (
        DEVELOPER,
        &[
            (
                r#"{"setup":{"model":"models/gemini-3.8-live","generationConfig":{"responseModalities":["AUDIO"]},
                "sessionResumption":{},"outputAudioTranscription":{},"inputAudioTranscription":{}}}"#,
                &["setupComplete", "sessionResumptionUpdate"],
            ),
            (
                r#"{"clientContent":{"turns":[{"role":"user","parts":[{"text":"Hi"}]}],"turnComplete":true}}"#,
                &[
                    "audio",
                    "outputTranscription",
                    "audio",
                    "outputTranscription",
                    "generationComplete",
                    "turnComplete usageMetadata",
                    "sessionResumptionUpdate",
                ],
            ),
            // Nothing is left to be answered.
            (r#"{"realtimeInput":{"text":" "}}"#, &[]),
            // It is read, and answered with the rest of the turn.
            (
                r#"{"clientContent":{"turns":[{"role":"user","parts":[{"inlineData":{"mimeType":"audio/pcm","data":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}}]}]}}"#,
                &[],
            ),
            (
                r#"{"realtimeInput":{"text":" "}}"#,
                &[
                    "inputTranscription",
                    "audio",
                    "outputTranscription",
                    "audio",
                    "outputTranscription",
                    "generationComplete",
                    "turnComplete usageMetadata",
                    "sessionResumptionUpdate",
                ],
            ),
        ],
    ),
    // Text, with thoughts, by a client that says when it speaks; of what is said outside of that nothing is heard.
    (
        DEVELOPER,
        &[
            (
                r#"{"setup":{"model":"gemini-3.8-live","generation_config":{"response_modalities":["TEXT"],
                "thinking_config":{"include_thoughts":true}},
                "realtime_input_config":{"automatic_activity_detection":{"disabled":true}}}}"#,
                &["setupComplete"],
            ),
            (r#"{"realtimeInput":{"mediaChunks":[{"mimeType":"audio/pcm;rate=16000","data":"AAAA"}]}}"#, &[]),
            (r#"{"realtimeInput":{"activityStart":{}}}"#, &[]),
            (r#"{"realtimeInput":{"activityEnd":{}}}"#, &[]),
            (r#"{"realtimeInput":{"activityStart":{}}}"#, &[]),
            (r#"{"realtimeInput":{"mediaChunks":[{"mimeType":"audio/pcm;rate=16000","data":"AAAA"}]}}"#, &[]),
            (
                r#"{"realtimeInput":{"activityEnd":{}}}"#,
                &["text", "text", "generationComplete", "turnComplete usageMetadata"],
            ),
            (
                r#"{"realtimeInput":{"text":"Think (sim reasoning=3)"}}"#,
                &["thought", "text", "text", "generationComplete", "turnComplete usageMetadata"],
            ),
        ],
    ),
    // A tool, at the Developer API: one usage for the round.
    (
        DEVELOPER,
        &[
            (
                r#"{"setup":{"model":"models/gemini-3.8-live","tools":[{"functionDeclarations":[{"name":"look"}]}]}}"#,
                &["setupComplete"],
            ),
            (r#"{"realtimeInput":{"text":"Look (sim tool)"}}"#, &["toolCall"]),
            (r#"{"toolResponse":{"functionResponses":[{"id":"another","name":"look","response":{}}]}}"#, &[]),
            (
                r#"{"toolResponse":{"functionResponses":[{"name":"look","response":{"output":"ok"}}]}}"#,
                ANSWER,
            ),
            (r#"{"realtimeInput":{"text":"Look (sim tool)"}}"#, &["toolCall"]),
            (
                r#"{"realtimeInput":{"text":"Never mind"}}"#,
                &[
                    "toolCallCancellation",
                    "audio",
                    "audio",
                    "generationComplete",
                    "turnComplete usageMetadata",
                ],
            ),
        ],
    ),
    // And at Vertex: two.
    (
        VERTEX,
        &[
            (
                r#"{"setup":{"model":"projects/p/locations/l/publishers/google/models/gemini-live-2.5-flash",
                "tools":[{"function_declarations":[{"name":"look"}]}]}}"#,
                &["setupComplete"],
            ),
            (r#"{"realtime_input":{"text":"Look (sim tool)"}}"#, &["toolCall usageMetadata"]),
            (
                r#"{"tool_response":{"function_responses":[{"name":"look","response":{"output":"ok"}}]}}"#,
                ANSWER,
            ),
        ],
    ),
];

#[test]
fn what_a_client_says_is_answered_and_what_is_told_is_what_the_audit_has() {
    for (path, rows) in TALKS {
        runtime::block_on(async {
            let mut client = Client::open(start("chunks=2"), path).await;
            for (message, expected) in rows {
                client.exchange(message, expected).await;
            }
            let audit = client.leave().await;
            let models: Vec<&String> = audit["by_key"]["-"].as_object().unwrap().keys().collect();
            let model = if path == VERTEX { "gemini-live-2.5-flash" } else { "gemini-3.8-live" };
            assert_eq!(models, [model]);
            assert_eq!(audit["sessions"][0]["close_code"], 1000);
        });
    }
}

#[test]
fn what_may_not_be_said_closes_the_connection_with_its_reason() {
    let long = format!(r#"{{"setup":{{"model":"models/{}"}}}}"#, "ä".repeat(100));
    for (credential, said, expected) in [
        ("?key=AIza", "{}", (1007, super::INVALID)),
        ("?key=AIza", "not JSON", (1007, "Invalid JSON payload received. Unexpected token.")),
        (
            "?key=AIza",
            r#"{"hello":1}"#,
            (1007, "Invalid JSON payload received. Unknown name \"hello\": Cannot find field."),
        ),
        ("?key=AIza", r#"{"setup":{},"toolResponse":{}}"#, (1007, super::INVALID)),
        ("?key=AIza", r#"{"realtimeInput":{"text":"Hi"}}"#, (1007, super::SETUP_FIRST)),
        ("?key=AIza", r#"{"setup":{}}"#, (1007, super::INVALID)),
        (
            "?key=AIza",
            r#"{"setup":{"model":"models/gemini-3.8-live","sessionResumption":{"handle":"old"}}}"#,
            (1007, super::INVALID),
        ),
        (
            "?key=AIza",
            r#"{"setup":{"model":"models/gpt-realtime"}}"#,
            (
                1008,
                "models/gpt-realtime is not found for API version v1beta, or is not supported for bidiGenerateContent. Call ListModels to se",
            ),
        ),
        ("?key=AIza", &long, (1008, &format!("models/{}", "ä".repeat(58)))),
        ("?key=another", SETUP, (1007, super::UNKNOWN_KEY)),
        ("?access_token=another", SETUP, (1007, super::UNKNOWN_KEY)),
        ("", SETUP, (1008, &super::NO_KEY[..123])),
    ] {
        runtime::block_on(async {
            let target = format!("{DEVELOPER}{credential}");
            let mut client = Client::connect(start(""), &target, "accept: */*").await.unwrap();
            client.say(said);
            let (code, reason) = client.hear().await.unwrap_err();
            assert_eq!((code, reason.as_str()), expected, "{credential} {said}");
        });
    }
    for said in
        [SETUP, r#"{"realtimeInput":{"activityStart":{}}}"#, r#"{"realtimeInput":{"text":"(sim fish)"}}"#]
    {
        runtime::block_on(async {
            let mut client = Client::open(start(""), DEVELOPER).await;
            client.exchange(SETUP, &["setupComplete"]).await;
            client.say(said);
            assert_eq!(client.hear().await.unwrap_err().0, 1007, "{said}");
        });
    }
}

#[test]
fn every_form_of_the_key_lets_in() {
    for (target, header) in [
        ("", "x-goog-api-key: AIza"),
        ("", "authorization: Bearer AIza"),
        ("", "authorization: Token AIza"),
        ("?key=AIza", "accept: */*"),
        ("?access_token=AIza", "accept: */*"),
    ] {
        runtime::block_on(async {
            let mut client =
                Client::connect(start(""), &format!("{DEVELOPER}{target}"), header).await.unwrap();
            client.exchange(SETUP, &["setupComplete"]).await;
        });
    }
}

#[test]
fn a_refusal_in_http_is_in_googles_words() {
    runtime::block_on(async {
        let refused = Client::connect(start("refuse=429"), DEVELOPER, "x-goog-api-key: AIza").await;
        let (status, body) = refused.err().unwrap();
        assert_eq!((status, &body["error"]["status"]), (429, &"RESOURCE_EXHAUSTED".into()));
        let refused = Client::connect(start("usage=twice"), DEVELOPER, "x-goog-api-key: AIza").await;
        assert_eq!(refused.err().unwrap().0, 400);
    });
}

#[test]
fn a_session_that_is_resumed_goes_on_where_it_was() {
    runtime::block_on(async {
        let bound = start("chunks=1,reasoning=0");
        let setup = |resumption: Value| {
            json!({"setup": {"model": "models/gemini-3.8-live", "session_resumption": resumption}})
                .to_string()
        };
        let answer = ["audio", "generationComplete", "turnComplete usageMetadata", "sessionResumptionUpdate"];
        let hello = r#"{"realtimeInput":{"text":"Hello"}}"#;
        let mut client = Client::open(bound, DEVELOPER).await;
        client.exchange(&setup(json!({})), &["setupComplete", "sessionResumptionUpdate"]).await;
        let heard = client.exchange(hello, &answer).await;
        let handle = &heard[3]["sessionResumptionUpdate"]["newHandle"];
        let mut resumed = Client::open(bound, DEVELOPER).await;
        let setup = setup(json!({"handle": handle}));
        resumed.exchange(&setup, &["setupComplete", "sessionResumptionUpdate"]).await;
        let heard = resumed.exchange(hello, &answer).await;
        let second = Turn { seed: 7, session: 1, turn: 2 };
        let spoken = Spoken { text_out_chunks: 1, audio_out_ms: 100, audio_in_ms: 0, images_in: 0 };
        let expected = Usage { reasoning_out: 0, ..second.response(spoken) };
        assert_eq!(told(&heard[2]["usageMetadata"]), expected);
    });
}

#[test]
fn speech_interrupts_what_is_said_unless_the_setup_says_otherwise() {
    let long = r#"{"realtimeInput":{"text":"(sim chunks=300,pace=1)"}}"#;
    for (handling, end) in
        [("START_OF_ACTIVITY_INTERRUPTS", "interrupted"), ("NO_INTERRUPTION", "generationComplete")]
    {
        runtime::block_on(async {
            let mut client = Client::open(start("chunks=1"), DEVELOPER).await;
            let setup = json!({"setup": {"model": "models/gemini-3.8-live", "realtimeInputConfig":
                {"automaticActivityDetection": {"disabled": true}, "activityHandling": handling}}});
            client.exchange(&setup.to_string(), &["setupComplete"]).await;
            client.exchange(long, &["audio"]).await;
            client.say(r#"{"realtimeInput":{"activityStart":{}}}"#);
            let mut said = 1;
            let ended = loop {
                match summary(&client.hear().await.unwrap()) {
                    audio if audio == "audio" => said += 1,
                    ended => break ended,
                }
            };
            assert_eq!((ended.as_str(), said < 300), (end, end == "interrupted"));
            client.expect(long, &["turnComplete usageMetadata"]).await;
            client.leave().await;
        });
    }
}

#[test]
fn a_question_in_mid_answer_is_answered_after_it() {
    runtime::block_on(async {
        let mut client = Client::open(start("chunks=1"), DEVELOPER).await;
        client.exchange(SETUP, &["setupComplete"]).await;
        client.exchange(r#"{"realtimeInput":{"text":"(sim stall)"}}"#, &[]).await;
        let rest = [
            "interrupted",
            "turnComplete usageMetadata",
            "audio",
            "generationComplete",
            "turnComplete usageMetadata",
        ];
        client.exchange(r#"{"realtimeInput":{"text":"Hi"}}"#, &rest).await;
        client.leave().await;
    });
}

#[test]
fn heard_audio_of_the_length_that_was_asked_for_is_a_turn() {
    runtime::block_on(async {
        let mut client = Client::open(start("chunks=1,vad=100"), DEVELOPER).await;
        client.exchange(SETUP, &["setupComplete"]).await;
        let half = json!({"realtimeInput": {"audio": {"mimeType": "audio/pcm;rate=16000", "data": "A".repeat(2_134)}}});
        client.exchange(&half.to_string(), &[]).await;
        client
            .exchange(&half.to_string(), &["audio", "generationComplete", "turnComplete usageMetadata"])
            .await;
        client.leave().await;
    });
}

#[test]
fn misbehaviour_is_the_same_as_of_any_provider() {
    for (words, expected, closed) in [
        ("usage=after", &["audio", "generationComplete", "turnComplete", "usageMetadata"][..], None),
        ("usage=with_audio", &["audio", "audio usageMetadata", "generationComplete", "turnComplete"], None),
        ("usage=absent", &["audio", "generationComplete", "turnComplete"], None),
        ("usage=empty", &["audio", "generationComplete", "turnComplete usageMetadata"], None),
        ("giant=5000", &["audio", "audio", "generationComplete", "turnComplete usageMetadata"], None),
        ("close@middle=1011:Internal error encountered.", &[], Some((1011, "Internal error encountered."))),
        (
            "go_away=20",
            &["audio", "generationComplete", "turnComplete usageMetadata", "goAway"],
            Some((1000, "")),
        ),
    ] {
        runtime::block_on(async {
            let mut client = Client::open(start("chunks=1"), DEVELOPER).await;
            client.exchange(SETUP, &["setupComplete"]).await;
            let heard = client
                .exchange(&format!(r#"{{"realtimeInput":{{"text":"(sim {words})"}}}}"#), expected)
                .await;
            if let Some(last) = heard.last().filter(|last| summary(last) == "goAway") {
                assert_eq!(last["goAway"]["timeLeft"], "0.020s");
            }
            match closed {
                Some((code, reason)) => {
                    assert_eq!(client.hear().await, Err((code, reason.to_owned())), "{words}")
                }
                None => drop(client.leave().await),
            }
        });
    }
}

#[test]
fn a_usage_can_be_read_from_what_is_told_of_it() {
    for (front, turn) in [Front::Developer, Front::Vertex]
        .into_iter()
        .flat_map(|front| (1..200).map(move |turn| (front, turn)))
    {
        let turn = Turn { seed: 3, session: 5, turn };
        let spoken =
            Spoken { text_out_chunks: 3, audio_out_ms: 900, audio_in_ms: 700, images_in: turn.turn % 3 };
        let usage = turn.response(spoken);
        for (is_short, is_bare) in [(false, false), (true, false), (false, true)] {
            let tool_prompt = turn.whim();
            let metadata = metadata(&usage, Telling { front, is_short, is_bare, tool_prompt });
            assert_eq!(told(&metadata), usage, "{metadata}");
            let names = metadata.as_object().unwrap();
            assert_eq!(names.contains_key("responseTokenCount"), front == Front::Developer);
            assert_eq!(names.contains_key("candidatesTokenCount"), front == Front::Vertex);
            assert!(names.values().all(|value| *value != 0));
        }
    }
}
