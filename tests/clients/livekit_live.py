"""LiveKit's agent with GPT-Live: livekit_live.py BASE_URL. It drops a query, so that a key in the path tells who speaks."""

import asyncio
import sys

from livekit import rtc
from livekit.agents.voice.io import AudioInput
from livekit.plugins import openai

from livekit_session import result, run


class Microphone(AudioInput):
    def __init__(self):
        super().__init__(label="microphone")
        self.frames = asyncio.Queue()

    async def __anext__(self):
        return await self.frames.get()


async def speak(session, _):
    """200 ms of silence, whatever the turn: the model answers what it hears."""
    if session.input.audio is None:
        session.input.audio = Microphone()
    heard = result["responses"]
    session.input.audio.frames.put_nowait(rtc.AudioFrame(bytes(9_600), 24_000, 1, 4_800))
    while result["responses"] == heard and not result["errors"]:
        await asyncio.sleep(0.01)


run(lambda: openai.realtime.GPTLiveModel(model="gpt-live-1.1", api_key="unused", base_url=sys.argv[1]), speak)
