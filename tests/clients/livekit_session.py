"""What the programs with LiveKit's agent have in common: four turns are asked for, and what was heard of them is told."""

import asyncio
import json
import logging
import os

from livekit.agents import Agent, AgentSession

TURNS = ["Zażółć gęślą jaźń, 你好", "And now?", "Still there?", "Good night."]
result = {"input_tokens": 0, "output_tokens": 0, "responses": 0, "replies": 0, "errors": [], "error": None}


def metrics(event):
    # There is one with nothing in it for a generation that nothing was told of.
    if event.metrics.type == "realtime_model_metrics" and event.metrics.total_tokens:
        result["input_tokens"] += event.metrics.input_tokens
        result["output_tokens"] += event.metrics.output_tokens
        result["responses"] += 1


def told(error):
    """What an author sees of it: the model's error wraps that of the SDK, whose body is the provider's."""
    body = str(getattr(error, "body", None))
    return {"type": type(error).__name__, "code": getattr(error, "code", None), "text": str(error), "body": body}


async def converse(model):
    session = AgentSession(llm=model())
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
            result["replies"] += 1
        except Exception as error:
            result["refused"] = told(error)
            await asyncio.wait_for(over.wait(), 20)


def run(model):
    """`model` makes the realtime model, where there is a loop already."""
    logging.disable(logging.CRITICAL)
    asyncio.run(asyncio.wait_for(converse(model), 60))
    print(json.dumps(result))
    # Its threads would keep the process.
    os._exit(0)
