"""What every Python program of requests over HTTP does: it asks for all that it knows, or for what ASK names, and tells what it
was told, as one line of JSON."""

import json
import os

MESSAGES = [{"role": "user", "content": "Zażółć gęślą jaźń, 你好"}]
told = {"requests": 0, "input_tokens": 0, "output_tokens": 0, "untold": 0, "pieces": 0, "raised": None}


def used(input_tokens, output_tokens):
    """A request is over, and that is its usage."""
    told["requests"] += 1
    told["input_tokens"] += input_tokens
    told["output_tokens"] += output_tokens


def used_unknown():
    """A request is over, and its author is told no usage."""
    told["requests"] += 1
    told["untold"] += 1


def pieces(events):
    """Passes a stream's events on, and counts those of the request that is under way."""
    told["pieces"] = 0
    for event in events:
        told["pieces"] += 1
        yield event


async def pieces_of(events):
    told["pieces"] = 0
    async for event in events:
        told["pieces"] += 1
        yield event


def last(events):
    *_, event = pieces(events)
    return event


async def last_of(events):
    return [event async for event in pieces_of(events)][-1]


def ask(requests, tell_error):
    """Makes the requests, by name, one after the other; `tell_error` makes a dict of what an SDK raises."""
    try:
        for name in os.environ.get("ASK", " ".join(requests)).split():
            requests[name]()
    except Exception as error:
        told["raised"] = {"class": type(error).__name__, "text": str(error), **tell_error(error)}
    print(json.dumps(told))
