"""mistralai: mistral_async.py BASE_URL USER, with the key in PROVIDER_KEY."""

import asyncio
import os
import sys

from mistralai.client import Mistral
from mistralai.client.models import (
    AudioFormat,
    RealtimeTranscriptionError,
    TranscriptionStreamDone,
    TranscriptionStreamTextDelta,
)
from sound import PAUSE_SECONDS, PIECE, PIECES, failed, result, tell

base_url, user = sys.argv[1:]
MODEL = "voxtral-mini-transcribe-realtime-2602"
FORMAT = AudioFormat(encoding="pcm_s16le", sample_rate=16000)


async def speak(connection):
    try:
        for _ in range(PIECES):
            await connection.send_audio(PIECE)
            await asyncio.sleep(PAUSE_SECONDS)
        await connection.flush_audio()
        await connection.end_audio()
    except Exception as error:
        # Who is hung up on while speaking reads on, to learn why.
        await asyncio.sleep(0.5)
        failed(type(error).__name__, None, error)


async def main():
    realtime = Mistral(api_key=os.environ["PROVIDER_KEY"], server_url=base_url).audio.realtime
    async with await realtime.connect(model=MODEL, audio_format=FORMAT, http_headers={"x-user-id": user}) as connection:
        speaking = asyncio.create_task(speak(connection))
        async for event in connection:
            if isinstance(event, TranscriptionStreamTextDelta):
                result["answers"] += 1
            elif isinstance(event, TranscriptionStreamDone):
                result["stated_ms"] = event.usage.prompt_audio_seconds * 1000
                break
            elif isinstance(event, RealtimeTranscriptionError):
                failed(event.type, event.error.code, event.error.message)
                break
        await speaking


try:
    asyncio.run(main())
except Exception as error:
    failed(type(error).__name__, None, error)
tell()
