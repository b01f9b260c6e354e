//! Calls of the simulated provider, asked for by another end of str0m in the same program.

use crate::http::{self, Response};
use crate::link::{self, Bytes, Outbox};
use crate::peer::{Peer, Track};
use crate::provider::sim::Sim;
use crate::provider::{self, Bound};
use crate::runtime;
use crate::sound::{self, PACKET, PACKET_MS};
use crate::ws::{End, FIN, Inbound, TEXT};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::rc::Rc;
use std::time::{Duration, Instant};
use str0m::Event;
use str0m::change::SdpAnswer;
use str0m::channel::ChannelId;
use str0m::format::Codec;
use str0m::media::{Direction, MediaKind, Mid};

const WAIT: Duration = Duration::from_secs(10);

fn start(sim: &str, shard_count: usize) -> Bound {
    let sim = Sim::default().with(sim).unwrap();
    let listen = "127.0.0.1:0".parse().unwrap();
    let key = Some("sk-right".to_owned());
    provider::start(provider::Options { listen, tls: None, shard_count, seed: 7, key, beta: false, sim })
        .unwrap()
}

async fn request(bound: Bound, head: &str, body: &str) -> Response {
    let link = link::connect(bound.listen, None).await.unwrap();
    let (mut inbound, outbox) = (Inbound::new(link.read), Outbox::start(link.write));
    let length = body.len();
    let request = format!(
        "{head} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-right\r\ncontent-length: {length}\r\n\
         content-type: {}\r\n\r\n{body}",
        if body.starts_with('{') { "application/json" } else { "application/sdp" },
    );
    outbox.put(Bytes::Owned(request.into_bytes()));
    http::read_response(&mut inbound).await.unwrap()
}

async fn audit(bound: Bound) -> Value {
    serde_json::from_slice(&request(bound, "GET /audit", "").await.body).unwrap()
}

/// A client of a call.
struct Client {
    bound: Bound,
    peer: Peer,
    channel: ChannelId,
    mid: Mid,
    track: Option<Track>,
    id: String,
    answer: String,
    /// Packets that came, and of them those with the tone.
    packets: usize,
    tones: usize,
}

impl Client {
    async fn call(bound: Bound, target: &str) -> Client {
        Client::call_with(bound, target, |offer| offer).await
    }

    /// As [`Client::call`], with an offer that says something else.
    async fn call_with(bound: Bound, target: &str, changed: impl FnOnce(String) -> String) -> Client {
        let peer = Peer::bind(Peer::config(), Ipv4Addr::LOCALHOST.into()).unwrap();
        let (offer, pending, mid, channel) = peer.with(|rtc| {
            let mut change = rtc.sdp_api();
            let mid = change.add_media(MediaKind::Audio, Direction::SendRecv, None, None, None);
            let channel = change.add_channel("oai-events".to_owned());
            let (offer, pending) = change.apply().unwrap();
            (changed(offer.to_sdp_string()), pending, mid, channel)
        });
        let body = match target.contains("/live/") {
            true => {
                json!({"session": {"model": "gpt-live-1"}, "transport": {"type": "webrtc", "sdp": offer}})
                    .to_string()
            }
            false => offer,
        };
        let response = request(bound, &format!("POST {target}"), &body).await;
        let text = String::from_utf8(response.body.clone()).unwrap();
        assert_eq!(response.status, 201, "{text}");
        let (id, answer) = match serde_json::from_str::<Value>(&text) {
            Ok(body) => {
                let field = |value: &Value| value.as_str().unwrap().to_owned();
                (field(&body["session"]["id"]), field(&body["transport"]["sdp"]))
            }
            Err(_) => {
                assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
                assert_eq!(response.header("access-control-allow-origin"), Some("*"));
                let exposed = response.header("access-control-expose-headers").unwrap();
                assert!(exposed.contains("Location"), "{exposed}");
                let location = response.header("location").unwrap();
                (location.strip_prefix("/v1/realtime/calls/").unwrap().to_owned(), text)
            }
        };
        peer.with(|rtc| rtc.sdp_api().accept_answer(pending, SdpAnswer::from_sdp_string(&answer).unwrap()))
            .unwrap();
        Client { bound, peer, channel, mid, track: None, id, answer, packets: 0, tones: 0 }
    }

    /// Where the provider's end of the call is.
    fn address(&self) -> SocketAddr {
        let candidate = self.answer.lines().find(|line| line.starts_with("a=candidate:")).unwrap();
        let words: Vec<&str> = candidate.split(' ').collect();
        format!("{}:{}", words[4], words[5]).parse().unwrap()
    }

    fn say(&self, event: &Value) {
        let event = event.to_string();
        let is_sent = self.peer.with(|rtc| rtc.channel(self.channel).unwrap().write(false, event.as_bytes()));
        assert!(is_sent.unwrap());
    }

    /// The next message, with the sound heard that comes before it; `None` if the call has ended. Sound alone is no message.
    async fn hear(&mut self) -> Option<Value> {
        monoio::time::timeout(WAIT, self.hear_on()).await.expect("a message comes")
    }

    async fn hear_on(&mut self) -> Option<Value> {
        loop {
            match self.peer.event().await? {
                Event::ChannelData(data) => return Some(serde_json::from_slice(&data.data).unwrap()),
                Event::RtpPacket(packet) => {
                    let codec = Track::codec_of(&self.peer, packet.header.payload_type).unwrap();
                    self.packets += 1;
                    self.tones += usize::from(sound::tone_share(codec, &packet.payload) > 0.9);
                }
                Event::ChannelClose(_) | Event::Closed => return None,
                _ => {}
            }
        }
    }

    async fn hear_until(&mut self, kind: &str) -> Vec<Value> {
        let mut heard = Vec::new();
        while heard.last().is_none_or(|event: &Value| event["type"] != kind) {
            heard.push(self.hear().await.unwrap_or_else(|| panic!("no {kind} after {heard:?}")));
        }
        heard
    }

    /// Says so many packets of the tone.
    async fn sound(&mut self, packets: usize) {
        let agreed = || Track::agreed(&self.peer, self.mid, &[Codec::PCMU]).unwrap();
        let mut track = self.track.take().unwrap_or_else(agreed);
        for _ in 0..packets {
            track.send(&self.peer, &sound::tone(track.codec), PACKET_MS);
            monoio::time::sleep(PACKET).await;
        }
        self.track = Some(track);
    }

    async fn hang_up(&self) -> u16 {
        request(self.bound, &format!("POST /v1/realtime/calls/{}/hangup", self.id), "").await.status
    }
}

/// A socket beside a call.
struct Sideband {
    inbound: Inbound,
    outbox: Rc<Outbox>,
}

impl Sideband {
    async fn attach(bound: Bound, target: &str) -> Result<Sideband, u16> {
        let link = link::connect(bound.listen, None).await.unwrap();
        let (mut inbound, outbox) = (Inbound::new(link.read), Outbox::start(link.write));
        let upgrade = format!(
            "GET {target} HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: {}\r\nauthorization: Bearer sk-right\r\n\r\n",
            crate::target::NONCE
        );
        outbox.put(Bytes::Owned(upgrade.into_bytes()));
        match http::read_response(&mut inbound).await.unwrap().status {
            101 => Ok(Sideband { inbound, outbox }),
            status => Err(status),
        }
    }

    fn say(&self, event: &Value) {
        let mut frame = Vec::new();
        End::Client.frame(FIN | TEXT, event.to_string().as_bytes(), &mut frame);
        self.outbox.put(Bytes::Owned(frame));
    }

    /// The next message; the code of a close is an error.
    async fn hear(&mut self) -> Result<Value, u16> {
        let message = monoio::time::timeout(WAIT, self.inbound.message()).await.expect("something comes");
        let message = message.unwrap().unwrap();
        match message.opcode {
            TEXT => Ok(serde_json::from_slice(message.payload).unwrap()),
            _ => Err(message.close_reason().0),
        }
    }

    async fn hear_until(&mut self, kind: &str) -> Vec<Value> {
        let mut heard = Vec::new();
        while heard.last().is_none_or(|event: &Value| event["type"] != kind) {
            heard.push(self.hear().await.unwrap());
        }
        heard
    }
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

#[test]
fn a_turn_is_said_and_heard_as_sound_and_told_as_events() {
    for target in
        ["/v1/realtime/calls?audit=u&model=gpt-realtime-2.1", "/v1/realtime?model=gpt-realtime-2.1&audit=u"]
    {
        let bound = start("", 1);
        runtime::block_on(async {
            let mut client = Client::call(bound, target).await;
            let greeting = client.hear().await.unwrap();
            assert_eq!(
                (&greeting["type"], &greeting["session"]["model"]),
                (&"session.created".into(), &"gpt-realtime-2.1".into())
            );
            client.sound(10).await;
            client.say(&json!({"type": "input_audio_buffer.commit"}));
            client.say(&json!({"type": "response.create"}));
            let mut heard = client.hear_until("output_audio_buffer.stopped").await;
            let told = kinds(&heard).join(" ");
            assert!(!told.contains("output_audio.delta") && !told.contains("error"), "{told}");
            for kind in
                ["input_audio_buffer.committed", "output_audio_buffer.started", "response.output_audio.done"]
            {
                assert_eq!(told.split(' ').filter(|told| *told == kind).count(), 1, "{kind} in {told}");
            }
            assert_eq!(told.matches("response.output_audio_transcript.delta").count(), 4, "{told}");
            // 400 ms of tone, and silence before and behind it.
            assert!((15..=20).contains(&client.tones), "{} of {}", client.tones, client.packets);
            assert!(client.packets > client.tones);

            heard.retain(|event| event["type"] == "response.done");
            let (usage, audit) = (&heard[0]["response"]["usage"], audit(bound).await);
            let counted = &audit["by_key"]["u"]["gpt-realtime-2.1"];
            assert_eq!(counted["total_tokens"], usage["total_tokens"]);
            assert_eq!((&counted["responses"], &audit["session_count"]), (&1.into(), &1.into()));
            assert!(usage["input_token_details"]["audio_tokens"].as_u64() >= Some(2));
        });
    }
}

#[test]
fn a_response_is_played_as_long_where_it_is_not_heard() {
    for (sim, echoes) in [("sound=none", 0), ("sound=echo", 5)] {
        let bound = start(sim, 1);
        runtime::block_on(async {
            let mut client = Client::call(bound, "/v1/realtime/calls?model=m").await;
            client.hear_until("session.created").await;
            client.sound(5).await;
            client.say(&json!({"type": "response.create"}));
            client.hear_until("output_audio_buffer.started").await;
            let started = Instant::now();
            client.hear_until("output_audio_buffer.stopped").await;
            let ms = started.elapsed().as_millis();
            assert!((300..1_000).contains(&ms), "{sim}: {ms}");
            assert_eq!((client.packets, client.tones), (echoes, echoes), "{sim}");
        });
    }
}

#[test]
fn a_hangup_ends_a_call_and_what_is_beside_it() {
    for shard_count in [1, 3] {
        let bound = start("", shard_count);
        runtime::block_on(async {
            let mut client = Client::call(bound, "/v1/realtime/calls?model=m").await;
            client.hear_until("session.created").await;
            let beside = format!("/v1/realtime?call_id={}", client.id);
            let mut sideband = Sideband::attach(bound, &beside).await.unwrap();
            assert_eq!(
                request(bound, &format!("POST /v1/realtime/calls/{}/refer", client.id), "{}").await.status,
                400
            );
            assert_eq!(client.hang_up().await, 200);
            assert_eq!(client.hear().await, None);
            assert_eq!(sideband.hear().await, Err(1000));
            while audit(bound).await["sessions"][0]["close_code"].is_null() {
                monoio::time::sleep(PACKET).await;
            }
            assert_eq!(client.hang_up().await, 404);
            assert_eq!(Sideband::attach(bound, &beside).await.err(), Some(404));
            assert_eq!(request(bound, "POST /v1/realtime/calls/rtc_none/hangup", "").await.status, 404);
        });
    }
}

#[test]
fn who_is_attached_hears_each_event_once_from_then_on_and_speaks() {
    for shard_count in [1, 3] {
        let bound = start("", shard_count);
        runtime::block_on(async {
            let mut client = Client::call(bound, "/v1/realtime/calls?model=m&audit=u").await;
            let beside = format!("/v1/realtime?call_id={}&audit=other", client.id);
            let mut early = Sideband::attach(bound, &beside).await.unwrap();
            client.hear_until("session.created").await;
            client.say(&json!({"type": "response.create"}));
            let first = client.hear_until("output_audio_buffer.stopped").await;
            assert_eq!(early.hear_until("output_audio_buffer.stopped").await, first);

            let mut late = Sideband::attach(bound, &beside).await.unwrap();
            late.say(&json!({"type": "response.create"}));
            let second = client.hear_until("output_audio_buffer.stopped").await;
            assert_eq!(early.hear_until("output_audio_buffer.stopped").await, second);
            assert_eq!(late.hear_until("output_audio_buffer.stopped").await, second);

            let told: u64 = first
                .iter()
                .chain(&second)
                .filter_map(|event| event["response"]["usage"]["total_tokens"].as_u64())
                .sum();
            let audit = audit(bound).await;
            assert_eq!((&audit["totals"]["responses"], &audit["session_count"]), (&2.into(), &1.into()));
            assert_eq!(audit["by_key"]["u"]["m"]["total_tokens"], told);
        });
    }
}

#[test]
fn of_gpt_live_who_is_attached_hears_the_sound_as_well() {
    let bound = start("", 2);
    runtime::block_on(async {
        let mut client = Client::call(bound, "/v1/live/sessions?audit=u").await;
        client.hear_until("session.started").await;
        let beside = format!("/v1/live/sessions/{}/attach", client.id);
        let mut sideband = Sideband::attach(bound, &beside).await.unwrap();
        client.sound(5).await;
        client.say(&json!({"type": "response.create"}));
        let heard = client.hear_until("session.usage.updated").await;
        assert!(!kinds(&heard).contains(&"session.output_audio.delta"));
        assert_eq!(heard.last().unwrap()["usage"]["seconds"], 15.0, "what a call begins with");
        let beside = sideband.hear_until("session.usage.updated").await;
        for kind in ["session.input_audio.append", "session.output_audio.delta", "response.event"] {
            assert!(kinds(&beside).contains(&kind), "{kind} in {beside:?}");
        }
        let audit = audit(bound).await;
        assert_eq!(audit["by_key"]["u"]["gpt-live-1"]["duration_ms"], 15_000);
    });
}

#[test]
fn what_is_no_part_of_the_call_is_passed_over() {
    let bound = start("", 1);
    runtime::block_on(async {
        let mut client = Client::call(bound, "/v1/realtime/calls?model=m").await;
        let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let noise: Vec<u8> = (0..60_000_u32).map(|index| (index * 31 % 251) as u8).collect();
        let disturb = || {
            for first in 0..=u8::MAX {
                for length in [1, 20, 1_200, 60_000] {
                    let datagram = [&[first], &noise[..length]].concat();
                    stranger.send_to(&datagram, client.address()).unwrap();
                }
            }
        };
        disturb();
        client.hear_until("session.created").await;
        client.say(&json!({"type": "response.create"}));
        client.hear_until("output_audio_buffer.stopped").await;
        assert_eq!(audit(bound).await["totals"]["responses"], 1);
    });
}

#[test]
fn a_long_event_comes_whole_where_it_is_taken_and_is_told_of_where_it_is_not() {
    let bound = start("", 1);
    runtime::block_on(async {
        let long = json!({"type": "session.update", "session": {"instructions": "x".repeat(200_000)}});
        let mut client = Client::call(bound, "/v1/realtime/calls?model=m").await;
        client.hear_until("session.created").await;
        client.say(&long);
        let heard = client.hear_until("session.updated").await;
        let told = heard.last().unwrap()["session"]["instructions"].as_str().unwrap();
        assert_eq!(told.len(), 200_000);

        let short = |offer: String| offer.replace("a=max-message-size:262144", "a=max-message-size:65536");
        let mut client = Client::call_with(bound, "/v1/realtime/calls?model=m", short).await;
        client.hear_until("session.created").await;
        let beside = format!("/v1/realtime?call_id={}", client.id);
        let mut sideband = Sideband::attach(bound, &beside).await.unwrap();
        client.say(&long);
        let error = client.hear_until("error").await.pop().unwrap();
        assert_eq!(error["error"]["code"], "message_too_long");
        let beside = sideband.hear_until("session.updated").await.pop().unwrap();
        assert_eq!(beside["session"]["instructions"].as_str().unwrap().len(), 200_000);
        client.say(&json!({"type": "response.create"}));
        let heard = client.hear_until("response.done").await;
        assert!(!kinds(&heard).contains(&"session.updated"));
    });
}

#[test]
fn what_is_asked_wrongly_is_refused() {
    let bound = start("", 1);
    runtime::block_on(async {
        for (target, body, status) in [
            ("/v1/realtime/calls", "v=0\r\n", 400),
            ("/v1/realtime/calls", "", 400),
            ("/v1/realtime/calls?sim=split=7", "v=0\r\n", 400),
            ("/v1/realtime/calls?sim=refuse=429:3", "v=0\r\n", 429),
            ("/v1/live/sessions", "{}", 400),
        ] {
            let response = request(bound, &format!("POST {target}"), body).await;
            let told: Value = serde_json::from_slice(&response.body).unwrap();
            assert_eq!(response.status, status, "{target}: {told}");
            assert!(told["error"]["message"].is_string(), "{target}: {told}");
            assert_eq!(response.header("access-control-allow-origin"), Some("*"), "{target}");
        }
        let audit = audit(bound).await;
        assert_eq!((&audit["session_count"], &audit["handshake_count"]), (&0.into(), &5.into()));
    });
}

#[test]
fn a_call_dies_as_it_is_told_to() {
    for (sim, close_code, told) in
        [("close@middle=4000:bye", 1006, 0), ("die@middle", 1006, 0), ("close@done=1000:bye", 1006, 1)]
    {
        let bound = start(sim, 1);
        runtime::block_on(async {
            let mut client = Client::call(bound, "/v1/realtime/calls?model=m").await;
            client.hear_until("session.created").await;
            let beside = format!("/v1/realtime?call_id={}", client.id);
            let mut sideband = Sideband::attach(bound, &beside).await.unwrap();
            client.say(&json!({"type": "response.create"}));
            let closed = loop {
                if let Err(code) = sideband.hear().await {
                    break code;
                }
            };
            assert_eq!(closed, if sim.contains("4000") { 4000 } else { 1000 }, "{sim}");
            let audit = loop {
                let audit = audit(bound).await;
                if !audit["sessions"][0]["close_code"].is_null() {
                    break audit;
                }
                monoio::time::sleep(PACKET).await;
            };
            assert_eq!(audit["sessions"][0]["close_code"], close_code, "{sim}");
            assert_eq!(
                (&audit["totals"]["responses"], &audit["totals"]["undelivered"]),
                (&told.into(), &(1 - told).into()),
                "{sim}"
            );
        });
    }
}
