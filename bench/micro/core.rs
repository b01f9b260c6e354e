//! What an event costs the core: `cargo bench -p tokenist-core`.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use tokenist_core::dialect::{Dialect, GeminiLive, HEAD_BYTES_MAX, OpenaiRealtime, Rest};
use tokenist_core::id::Model;
use tokenist_core::meter::{EstimateMode, Meter, Models};
use tokenist_core::price::PriceTable;
use tokenist_core::time::{Instant, Now, Timestamp};

const NOW: Now = Now { wall: Timestamp(1_795_000_000_000), instant: Instant(0) };

fn meter(estimate: EstimateMode) -> Meter {
    let models = Models { session: Some(Model::from("gpt-realtime")), transcription: None };
    Meter::new(&OpenaiRealtime, "openai".into(), models, estimate)
}

/// 32 KB of sound, as OpenAI orders its fields.
fn audio_delta() -> Vec<u8> {
    let head = r#"{"type":"response.output_audio.delta","event_id":"event_CgZkvYlD1q6Ur","response_id":"resp_CgZkuAhBzDQ2n","item_id":"item_CgZkuVOLqMqA9","output_index":0,"content_index":0,"delta":""#;
    [head.as_bytes(), &vec![b'A'; 32 * 1024], b"\"}"].concat()
}

/// As Gemini writes it; behind the sound there may be usage.
fn gemini_sound() -> Vec<u8> {
    let head = br#"{"serverContent":{"modelTurn":{"parts":[{"inlineData":{"mimeType":"audio/pcm;rate=24000","data":""#;
    [head, &vec![b'A'; 32 * 1024][..], br#""}}]}}}"#].concat()
}

/// With the conversation item of a spoken sentence, as OpenAI sends it.
const RESPONSE_DONE: &str = r#"{"type":"response.done","event_id":"event_CgZkw0qTzVf2A","response":{"object":"realtime.response","id":"resp_CgZkuAhBzDQ2n","status":"completed","status_details":null,"output":[{"id":"item_CgZkuVOLqMqA9","type":"message","status":"completed","role":"assistant","content":[{"type":"output_audio","transcript":"Of course! The next train to the coast leaves at a quarter past nine from platform four, and there is another one an hour later. Would you like me to book a seat for you, or shall I look for a cheaper fare first?"}]}],"conversation_id":"conv_CgZksWq0RmPqc","output_modalities":["audio"],"max_output_tokens":"inf","audio":{"output":{"format":{"type":"audio/pcm","rate":24000},"voice":"marin"}},"usage":{"total_tokens":1253,"input_tokens":932,"output_tokens":321,"input_token_details":{"text_tokens":419,"audio_tokens":513,"image_tokens":0,"cached_tokens":832,"cached_tokens_details":{"text_tokens":384,"audio_tokens":448,"image_tokens":0}},"output_token_details":{"text_tokens":69,"audio_tokens":252}},"metadata":null}}"#;

fn benches(criterion: &mut Criterion) {
    let prices = PriceTable::builtin();
    let delta = audio_delta();
    let (head, rest) = (&delta[..HEAD_BYTES_MAX], (delta.len() - HEAD_BYTES_MAX) as u64);
    let other = br#"{"type":"response.output_audio.done","event_id":"event_1","response_id":"resp_1","item_id":"item_1"}"#;
    let append =
        [br#"{"type":"input_audio_buffer.append","audio":""#, &vec![b'A'; 4096][..], b"\"}"].concat();

    criterion.bench_function("peek/dialect, 32 KB delta", |bench| {
        bench.iter(|| OpenaiRealtime.peek(black_box(head), Rest::Bytes(black_box(rest))));
    });
    let gemini = gemini_sound();
    criterion.bench_function("peek/dialect, 32 KB of Gemini's sound, to its end", |bench| {
        bench.iter(|| GeminiLive.peek(black_box(&gemini), Rest::Nothing));
    });
    for mode in [EstimateMode::Enforce, EstimateMode::Observe, EstimateMode::Off] {
        let mut meter = meter(mode);
        criterion.bench_function(&format!("peek/meter, 32 KB delta, {mode:?}"), |bench| {
            bench.iter(|| meter.peek(black_box(head), Rest::Bytes(black_box(rest)), &prices, NOW));
        });
    }
    let mut idle = meter(EstimateMode::Enforce);
    criterion.bench_function("peek/meter, other event", |bench| {
        bench.iter(|| idle.peek(black_box(other), Rest::Nothing, &prices, NOW));
    });
    criterion.bench_function("peek/meter, 4 KB of the application's sound", |bench| {
        bench.iter(|| idle.peek_client(black_box(&append[..256]), append.len() as u64));
    });
    criterion.bench_function("read/dialect, response.done", |bench| {
        bench.iter(|| {
            OpenaiRealtime.read(black_box(RESPONSE_DONE.as_bytes()), &mut |event| {
                black_box(event);
            })
        });
    });
    criterion.bench_function("read/meter, response.done", |bench| {
        bench.iter_batched_ref(
            || meter(EstimateMode::Enforce),
            |meter| meter.read(black_box(RESPONSE_DONE.as_bytes()), &prices, NOW),
            BatchSize::SmallInput,
        );
    });
    criterion.bench_function("price", |bench| {
        bench
            .iter(|| prices.price(black_box("openai"), black_box("gpt-realtime-2025-08-28"), NOW.wall).known);
    });
}

criterion_group!(core, benches);
criterion_main!(core);
