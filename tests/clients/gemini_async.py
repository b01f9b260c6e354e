"""google-genai, asyncio: gemini_async.py BASE_URL USER, with the key in GOOGLE_API_KEY. It always speaks TLS:
SSL_CERT_FILE names a private authority. With VERTEX set it asks Vertex, as in express mode."""

import asyncio
import json
import os
import sys
from contextlib import suppress

from google import genai
from google.genai import errors, types
from websockets.exceptions import ConnectionClosed

base_url, user = sys.argv[1:]
MODEL = "gemini-3.8-live"
CONFIG = {
    "response_modalities": ["AUDIO"],
    "output_audio_transcription": {},
    "session_resumption": {},
    "tools": [{"function_declarations": [{"name": "thermometer"}]}],
}
result = {"input_tokens": 0, "output_tokens": 0, "responses": 0, "audio_bytes": 0, "error": None}


def blob(size):
    return types.Blob(data=bytes(size), mime_type="audio/pcm;rate=16000")


async def write(session, text):
    await session.send_client_content(turns={"role": "user", "parts": [{"text": text}]}, turn_complete=True)


async def speak(session, size, count):
    for _ in range(count):
        await session.send_realtime_input(audio=blob(size))
    await session.send_realtime_input(audio_stream_end=True)


# A written turn, a spoken one, one with a tool's answer, a long spoken one.
TURNS = [
    lambda session: write(session, "Zażółć gęślą jaźń, 你好"),
    lambda session: speak(session, 3_200, 5),
    lambda session: write(session, "How warm is it? (sim tool)"),
    lambda session: speak(session, 160_000, 1),
]


async def hear(session):
    async for message in session.receive():
        result["audio_bytes"] += len(message.data or b"")
        for call in message.tool_call.function_calls if message.tool_call else []:
            answer = types.FunctionResponse(id=call.id, name=call.name, response={"celsius": 21})
            await session.send_tool_response(function_responses=answer)
        if usage := message.usage_metadata:
            result["input_tokens"] += (usage.prompt_token_count or 0) + (usage.tool_use_prompt_token_count or 0)
            result["output_tokens"] += (usage.response_token_count or 0) + (usage.thoughts_token_count or 0)
            result["responses"] += 1


async def main():
    options = {"base_url": base_url, "headers": {"x-user-id": user}}
    client = genai.Client(vertexai="VERTEX" in os.environ, api_key=os.environ["GOOGLE_API_KEY"], http_options=options)
    async with client.aio.live.connect(model=MODEL, config=CONFIG) as session:
        for turn in TURNS:
            # Who is hung up on while speaking reads on, to learn why.
            with suppress(ConnectionClosed):
                await turn(session)
            await hear(session)


try:
    asyncio.run(main())
except errors.APIError as error:
    result["error"] = {"type": type(error).__name__, "code": error.code, "text": str(error)}
print(json.dumps(result))
