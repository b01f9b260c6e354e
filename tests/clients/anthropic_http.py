"""anthropic's requests, blocking and not: anthropic_http.py BASE_URL USER, with the key in ANTHROPIC_API_KEY."""

import asyncio
import sys

import anthropic
from asks import MESSAGES, ask, pieces, pieces_of, used

ASK = {"model": "claude-sonnet-4-6", "max_tokens": 4_000, "messages": MESSAGES}

base_url, user = sys.argv[1:]
settings = {"base_url": base_url, "default_headers": {"x-user-id": user}}
client = anthropic.Anthropic(**settings)


def use(usage):
    """What is read from the cache is not part of the input here."""
    used(usage.input_tokens + usage.cache_read_input_tokens + (usage.cache_creation_input_tokens or 0), usage.output_tokens)


def stream():
    """The events as they come: each states all that there is by then."""
    for event in pieces(client.messages.create(**ASK, stream=True)):
        if event.type == "message_delta":
            usage = event.usage
    use(usage)


def helper():
    with client.messages.stream(**ASK) as events:
        text = "".join(pieces(events.text_stream))
        message = events.get_final_message()
    assert text == message.content[0].text
    use(message.usage)


async def asynchronous():
    async with anthropic.AsyncAnthropic(**settings) as client:
        for answer in await asyncio.gather(*[client.messages.create(**ASK) for _ in range(5)]):
            use(answer.usage)
        async with client.messages.stream(**ASK) as events:
            assert [text async for text in pieces_of(events.text_stream)]
            use((await events.get_final_message()).usage)


ask({
    "message": lambda: use(client.messages.create(**ASK).usage),
    "stream": stream,
    "helper": helper,
    "asynchronous": lambda: asyncio.run(asynchronous()),
}, lambda error: {"code": getattr(error, "type", None), "status": getattr(error, "status_code", None)})
