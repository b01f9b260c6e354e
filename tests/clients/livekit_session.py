"""What the programs with LiveKit's agent have in common: four turns are asked for, and what was heard of them is told."""

import asyncio
import json
import logging
import os

from livekit.agents import Agent, AgentSession

TURNS = ["Zażółć gęślą jaźń, 你好", "And now?", "Still there?", "Good night."]
result = {"input_tokens": 0, "output_tokens": 0, "responses": 0, "replies": 0, "errors": [], "error": None}


def metrics(event):
    told = event.metrics
    # There is one with nothing in it for a generation that nothing was told of.
    if told.type == "realtime_model_metrics" and told.total_tokens:
        add(told.input_tokens, told.output_tokens)
    elif told.type == "llm_metrics":
        add(told.prompt_tokens, told.completion_tokens)


def add(input_tokens, output_tokens):
    result["input_tokens"] += input_tokens
    result["output_tokens"] += output_tokens
    result["responses"] += 1


def told(error):
    """What an author sees of it: the model's error wraps that of the SDK, whose body is the provider's."""
    body = str(getattr(error, "body", None))
    return {"type": type(error).__name__, "code": getattr(error, "code", None), "text": str(error), "body": body}


async def write(session, turn):
    await session.generate_reply(user_input=turn)


async def converse(model, ask):
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
            await asyncio.wait_for(ask(session, turn), 20)
            result["replies"] += 1
        except Exception as error:
            result["refused"] = told(error)
            await asyncio.wait_for(over.wait(), 20)


def run(model, ask=write):
    """`model` makes the realtime model, where there is a loop already; `ask` asks for a turn and waits for its answer."""
    logging.disable(logging.CRITICAL)
    asyncio.run(asyncio.wait_for(converse(model, ask), 60))
    print(json.dumps(result))
    # Its threads would keep the process.
    os._exit(0)
