"""openai-python's requests, blocking and not: openai_http.py BASE_URL USER, with the key in OPENAI_API_KEY."""

import asyncio
import json
import sys

import openai

MODEL = "gpt-5-mini"
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "Zażółć gęślą jaźń, 你好"}]}
ASK = {"model": MODEL, "input": "hello"}
SHOWN = {"stream": True, "stream_options": {"include_usage": True}}

base_url, user = sys.argv[1:]
settings = {"base_url": base_url, "default_headers": {"x-user-id": user}, "max_retries": 0}
heard = {"requests": 0, "input_tokens": 0, "output_tokens": 0, "untold": 0, "error": None, "status": None}


def tell(usage):
    heard["requests"] += 1
    if usage is None:
        heard["untold"] += 1
        return
    told = usage.to_dict()
    heard["input_tokens"] += told.get("prompt_tokens", 0) + told.get("input_tokens", 0)
    heard["output_tokens"] += told.get("completion_tokens", 0) + told.get("output_tokens", 0)


def last(events):
    return list(events)[-1]


def ask(client):
    tell(client.chat.completions.create(**CHAT).usage)
    tell(last(client.chat.completions.create(**CHAT, **SHOWN)).usage)
    # Nothing may show of the usage that this one did not ask for.
    chunks = list(client.chat.completions.create(**CHAT, stream=True))
    assert all(chunk.choices and chunk.usage is None for chunk in chunks), chunks
    tell(None)
    tell(client.responses.create(**ASK).usage)
    tell(last(client.responses.create(**ASK, stream=True)).response.usage)
    tell(client.embeddings.create(model="text-embedding-3-small", input="hello").usage)


async def ask_at_once():
    async with openai.AsyncOpenAI(**settings) as client:
        answers = [client.chat.completions.create(**CHAT) for _ in range(10)]
        for answer in await asyncio.gather(*answers):
            tell(answer.usage)
        async for event in await client.responses.create(**ASK, stream=True):
            if event.type == "response.completed":
                tell(event.response.usage)


try:
    ask(openai.OpenAI(**settings))
    asyncio.run(ask_at_once())
except openai.APIError as error:
    heard["error"] = error.code
    heard["status"] = getattr(error, "status_code", None)
print(json.dumps(heard))
