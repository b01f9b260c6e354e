"""aiortc: aiortc_call.py ORIGIN KEY FORM, where FORM is how the call is asked for: sdp, form or live. It is heard to speak, asks for
a response, and once that has been played for another one."""

import asyncio
import json
import sys
from contextlib import suppress
from fractions import Fraction

import aiohttp
import numpy
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame

from conversation import TRANSCRIPTION, text
from heard import Heard

RATE = 48_000
SAMPLES = RATE // 50
HEIGHTS_HZ = {"tone_ms": 400, "own_ms": 1_000}
LOUD = 100  # Of the highest amplitude 32,767, as a root of a mean square.
SPEECH_SECONDS = 0.8
# Longer than any call here takes.
PATIENCE_SECONDS = 45
# What was said last is still being heard.
REST_SECONDS = 0.3

LISTEN = {"type": "realtime", "audio": {"input": {"turn_detection": None, "transcription": TRANSCRIPTION}}}
SAY = {"type": "conversation.item.create", "item": text("user", "Zażółć gęślą jaźń, 你好")}
RESPOND = {"type": "response.create"}
# An empty message comes first. A provider that gets it says that it is no event; who stands between need not pass it on.
NOTHING_IS_SAID = "invalid_json"
REALTIME = [
    [{"type": "session.update", "session": LISTEN}, {"type": "input_audio_buffer.commit"}, RESPOND],
    [SAY, RESPOND],
]


class Spoken(MediaStreamTrack):
    """A tone, at the pace at which a microphone gives it."""

    kind = "audio"

    def __init__(self):
        super().__init__()
        self.at = 0
        self.begun = None

    async def recv(self):
        now = asyncio.get_running_loop().time()
        self.begun = self.begun or now
        await asyncio.sleep(max(0, self.begun + self.at / RATE - now))
        phase = 2 * numpy.pi * HEIGHTS_HZ["own_ms"] * (self.at + numpy.arange(SAMPLES)) / RATE
        frame = AudioFrame.from_ndarray((8_000 * numpy.sin(phase)).astype(numpy.int16)[None], layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, self.at, Fraction(1, RATE)
        self.at += SAMPLES
        return frame


def is_tone(samples, rate, hz):
    """Whether more than 90 % of what is heard is a tone of this height."""
    power = (samples**2).sum()
    wave = numpy.exp(2j * numpy.pi * hz * numpy.arange(len(samples)) / rate)
    return power > len(samples) * LOUD**2 and 2 * abs((samples * wave).sum()) ** 2 > 0.9 * power * len(samples)


class Call(Heard):
    def __init__(self, form):
        super().__init__()
        self.result |= {name: 0 for name in HEIGHTS_HZ} | {"is_ended": False, "seconds": None}
        self.form = form
        self.turns = [[RESPOND], [RESPOND]] if form == "live" else [*REALTIME]
        self.over = asyncio.Event()
        self.peer = RTCPeerConnection()
        self.channel = self.peer.createDataChannel("oai-events")
        self.channel.on("message", lambda message: asyncio.ensure_future(self.hear(json.loads(message))))
        self.channel.on("close", self.ended)
        self.peer.addTrack(Spoken())
        self.peer.on("track", lambda track: asyncio.ensure_future(self.listen(track)))

    def ended(self):
        """The other end has ended the call."""
        self.result["is_ended"] = True
        self.over.set()

    async def listen(self, track):
        with suppress(MediaStreamError):
            while True:
                self.take(await track.recv())

    def take(self, frame):
        samples = frame.to_ndarray().reshape(-1, len(frame.layout.channels))[:, 0].astype(float)
        for name, hz in HEIGHTS_HZ.items():
            if is_tone(samples, frame.sample_rate, hz):
                self.result[name] += 1_000 * len(samples) / frame.sample_rate

    async def hear(self, event):
        kind = event["type"]
        if kind == "error" and event["error"]["code"] != NOTHING_IS_SAID:
            self.result["error"] = event["error"]["code"]
        elif kind == "conversation.item.input_audio_transcription.completed":
            self.add(event["usage"])
        elif kind == "response.done":
            self.answered(event["response"])
        elif kind == "response.event" and event["event"]["type"] == "response.completed":
            self.answered(event["event"]["response"])
        elif kind == "session.usage.updated":
            self.result["seconds"] = event["usage"]["seconds"]
        if kind in ("session.created", "session.started", "output_audio_buffer.stopped", "session.usage.updated"):
            await self.speak()

    def answered(self, response):
        self.add(response["usage"])
        self.result["responses"] += 1

    async def speak(self):
        """Says the next turn, if there is one."""
        await asyncio.sleep(SPEECH_SECONDS if self.turns else REST_SECONDS)
        if not self.turns:
            self.over.set()
        elif not self.over.is_set():
            if self.form != "live":
                self.channel.send("")
            for event in self.turns.pop(0):
                self.channel.send(json.dumps(event))

    def asked(self, offer):
        """The call's path, and how its body is told."""
        if self.form == "live":
            session = {"model": "gpt-live-1.1"}
            return "/v1/live/sessions", {"json": {"session": session, "transport": {"type": "webrtc", "sdp": offer}}}
        if self.form == "sdp":
            return "/v1/realtime/calls?model=gpt-realtime", {"data": offer, "headers": {"Content-Type": "application/sdp"}}
        form = aiohttp.FormData()
        form.add_field("sdp", offer, content_type="application/sdp")
        session = {"type": "realtime", "model": "gpt-realtime"}
        form.add_field("session", json.dumps(session), content_type="application/json")
        return "/v1/realtime/calls", {"data": form}

    async def begin(self, origin, key):
        await self.peer.setLocalDescription(await self.peer.createOffer())
        path, asked = self.asked(self.peer.localDescription.sdp)
        headers = {"Authorization": f"Bearer {key}"}
        async with aiohttp.ClientSession(origin, headers=headers, raise_for_status=True) as http:
            async with http.post(path, **asked) as answer:
                told = await answer.text()
        sdp = json.loads(told)["transport"]["sdp"] if self.form == "live" else told
        await self.peer.setRemoteDescription(RTCSessionDescription(sdp, "answer"))


async def main(origin, key, form):
    call = Call(form)
    await call.begin(origin, key)
    with suppress(TimeoutError):
        await asyncio.wait_for(call.over.wait(), PATIENCE_SECONDS)
    call.channel.remove_all_listeners("close")
    await call.peer.close()
    call.tell()


asyncio.run(main(*sys.argv[1:]))
