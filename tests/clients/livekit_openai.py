"""LiveKit's agent with OpenAI's realtime model: livekit_openai.py BASE_URL USER, with the key in OPENAI_API_KEY. Its base URL
keeps its query, which tells who speaks."""

import asyncio
import json
import logging
import os
import sys

from livekit.agents import Agent, AgentSession
from livekit.plugins import openai

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
    """What an author sees of it: the model's error wraps that of the SDK, whose body is the provider's."""
    return {"type": type(error).__name__, "text": str(error), "body": str(getattr(error, "body", None))}


async def main():
    model = openai.realtime.RealtimeModel(base_url=f"{base_url}?user_id={user}", modalities=["text"])
    session = AgentSession(llm=model)
    over = asyncio.Event()

    def error(event):
        result["errors"].append(event.error.recoverable)
        if not event.error.recoverable:
            result["error"] = told(event.error.error)
            over.set()

    session.on("metrics_collected", metrics)
    session.on("error", error)
    await session.start(Agent(instructions="Be brief."))
    for turn in TURNS:
        if over.is_set():
            break
        try:
            await asyncio.wait_for(session.generate_reply(user_input=turn), 20)
        except Exception as error:
            result["refused"] = told(error)
            await asyncio.wait_for(over.wait(), 20)


logging.disable(logging.CRITICAL)
asyncio.run(asyncio.wait_for(main(), 60))
print(json.dumps(result))
os._exit(0)
