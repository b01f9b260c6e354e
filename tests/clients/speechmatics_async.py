"""speechmatics-rt: speechmatics_async.py BASE_URL USER, with the key in PROVIDER_KEY."""

import asyncio
import os
import sys

from sound import PAUSE_SECONDS, PIECE, PIECES, failed, result, tell
from speechmatics.rt import AsyncClient, AudioEncoding, AudioFormat, ServerMessageType, TranscriptionConfig

base_url, user = sys.argv[1:]
CONFIG = TranscriptionConfig(language="en", model="enhanced")
FORMAT = AudioFormat(encoding=AudioEncoding.PCM_S16LE, sample_rate=16000)


async def main():
    url = base_url.replace("http", "ws", 1) + "/v2"
    async with AsyncClient(api_key=os.environ["PROVIDER_KEY"], url=url) as client:

        @client.on(ServerMessageType.ADD_TRANSCRIPT)
        def hear(_):
            result["answers"] += 1

        @client.on(ServerMessageType.ERROR)
        def fail(message):
            failed(message["type"], message.get("code"), message["reason"])

        await client.start_session(transcription_config=CONFIG, audio_format=FORMAT, ws_headers={"x-user-id": user})
        for _ in range(PIECES):
            await client.send_audio(PIECE)
            await asyncio.sleep(PAUSE_SECONDS)
        await client.stop_session()


try:
    asyncio.run(main())
except Exception as error:
    failed(type(error).__name__, None, error)
tell()
