"""openai-python, GPT-Live: live_async.py BASE_URL USER, with the key in OPENAI_API_KEY."""

import asyncio
import sys
from contextlib import suppress

from openai import AsyncOpenAI
from websockets.exceptions import ConnectionClosed

from conversation import SPEECH
from heard import Heard

base_url, user = sys.argv[1:]
TURNS = 4
SESSION = {"model": "gpt-live-1.1", "delegation": {"type": "responses", "responses": {"model": "gpt-6-luna"}}}
heard = Heard()
heard.result["audio_ms"] = None


async def speak(connection):
    # Who is hung up on while speaking reads on, to learn why.
    with suppress(ConnectionClosed):
        for _ in range(5):
            await connection.session.input_audio.append(audio=SPEECH)
        await connection.response.create()


async def hear(connection, event):
    if event.type == "session.started":
        await speak(connection)
    elif event.type == "response.event" and event.event["type"] == "response.completed":
        heard.add(event.event["response"]["usage"])
        heard.result["responses"] += 1
    elif event.type == "session.usage.updated" and heard.result["responses"] < TURNS:
        await speak(connection)
    elif event.type == "session.usage.updated":
        await connection.session.close()
    elif event.type == "session.closed":
        heard.result["audio_ms"] = round(event.usage.seconds * 1000)
    elif event.type == "error":
        heard.result["error"] = event.error.code


async def main():
    client = AsyncOpenAI(base_url=base_url, default_headers={"x-user-id": user})
    async with client.live.connect() as connection:
        await connection.session.start(session=SESSION)
        async for event in connection:
            await hear(connection, event)


try:
    asyncio.run(main())
except ConnectionClosed as error:
    heard.closed(error)
heard.tell()
