"""LiveKit's agent with Google's realtime model: livekit_google.py BASE_URL USER, with the key in GOOGLE_API_KEY. It
always speaks TLS: SSL_CERT_FILE names a private authority."""

import asyncio
import json
import logging
import os
import sys

from google.genai import types
from livekit.agents import Agent, AgentSession
from livekit.plugins import google

base_url, user = sys.argv[1:]
TURNS = ["Zażółć gęślą jaźń, 你好", "And now?", "Still there?", "Good night."]
result = {"input_tokens": 0, "output_tokens": 0, "responses": 0, "errors": [], "error": None}


def metrics(event):
    # There is one with nothing in it for a generation that nothing was told of.
    if event.metrics.type == "realtime_model_metrics" and event.metrics.total_tokens:
        result["input_tokens"] += event.metrics.input_tokens
        result["output_tokens"] += event.metrics.output_tokens
        result["responses"] += 1


def told(error):
    """What an author sees of it: the model's error wraps that of the SDK."""
    return {"type": type(error).__name__, "code": getattr(error, "code", None), "text": str(error)}


async def main():
    options = types.HttpOptions(base_url=base_url, headers={"x-user-id": user})
    model = google.realtime.RealtimeModel(model="gemini-3.8-live", http_options=options)
    session = AgentSession(llm=model)
    closed = asyncio.Event()

    def close(event):
        if event.error:
            result["error"] = told(event.error.error)
        closed.set()

    session.on("metrics_collected", metrics)
    session.on("error", lambda event: result["errors"].append(event.error.recoverable))
    session.on("close", close)
    await session.start(Agent(instructions="Be brief."))
    for turn in TURNS:
        if closed.is_set():
            break
        try:
            await asyncio.wait_for(session.generate_reply(user_input=turn), 20)
        except Exception as error:
            result["refused"] = told(error)
            await asyncio.wait_for(closed.wait(), 20)
    await session.aclose()


logging.disable(logging.CRITICAL)
asyncio.run(main())
print(json.dumps(result))
os._exit(0)
