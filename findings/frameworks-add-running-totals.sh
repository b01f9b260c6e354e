#!/usr/bin/env bash
# langchain-openai 1.7.4, langchain-anthropic 1.7.10 and pydantic-ai 2.68.0 (Python): what a streamed answer used is told too high
# where its provider states a running total more than once, for they add what is stated. OpenAI-compatible servers do so with
# each chunk (Perplexity; vLLM with `continuous_usage_stats`): the question is counted once for each chunk, and a chunk may be
# a word. Anthropic's `message_delta` holds running totals, and there may be several: LangChain adds those as well, joins the
# reasons why it ended into one word that nobody has sent, and does not count the question at all where only `message_start` states it.
# pydantic-ai reads Anthropic's rightly. Whoever limits or bills users by these figures counts the longer an answer is the more too much.
#
# Seen on 2026-12-01. Each answer has used 10 tokens in and 3 out. Each line: the package, the provider's form, how often the total is
# stated, tokens in and out as told, and why it ended.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    langchain-core==1.8.3 langchain-openai==1.7.4 langchain-anthropic==1.7.10 'pydantic-ai-slim[openai,anthropic]==2.68.0' \
    openai==3.57.0 anthropic==2.14.0
cat >"$work/expected" <<'END'
langchain openai once 10 3 stop
langchain openai always 40 9 stop
langchain anthropic once 0 3 end_turn
langchain anthropic always 0 6 end_turnend_turn
pydantic-ai openai once 10 3
pydantic-ai openai always 40 9
pydantic-ai anthropic once 10 3
pydantic-ai anthropic always 10 3
END
"$work/venv/bin/python" - >"$work/seen" 2>"$work/log" <<'END' || { cat "$work/log"; exit 1; }
import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI
from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

WORDS = ["one ", "two ", "three"]


def openai(always):
    def chunk(choices, words):
        usage = {"prompt_tokens": 10, "completion_tokens": words, "total_tokens": 10 + words} if words else None
        return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, "usage": usage}

    for words, word in enumerate(WORDS, 1):
        reason = "stop" if words == len(WORDS) else None
        choice = {"index": 0, "delta": {"role": "assistant", "content": word}, "finish_reason": reason}
        yield chunk([choice], words if always else 0)
    yield chunk([], len(WORDS))


def anthropic(always):
    message = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None,
               "stop_sequence": None, "usage": {"input_tokens": 10, "output_tokens": 1}}
    yield {"type": "message_start", "message": message}
    yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    for word in WORDS:
        yield {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}
    yield {"type": "content_block_stop", "index": 0}
    for _ in range(2 if always else 1):
        delta = {"stop_reason": "end_turn", "stop_sequence": None}
        yield {"type": "message_delta", "delta": delta, "usage": {"output_tokens": len(WORDS)}}
    yield {"type": "message_stop"}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        always = self.path.startswith("/always/")
        form = anthropic if self.path.endswith("/messages") else openai
        for event in form(always):
            name = f"event: {event['type']}\n" if "type" in event else ""
            self.wfile.write(f"{name}data: {json.dumps(event)}\n\n".encode())
        if form is openai:
            self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
base = f"http://127.0.0.1:{server.server_address[1]}"
EACH = [(form, often) for form in ("openai", "anthropic") for often in ("once", "always")]


def langchain(form, often):
    model = {
        "openai": lambda: ChatOpenAI(model="m", base_url=f"{base}/{often}/v1", api_key="k", stream_usage=True),
        "anthropic": lambda: ChatAnthropic(model="m", base_url=f"{base}/{often}", api_key="k", max_tokens=100),
    }[form]()
    whole = None
    for chunk in model.stream("count"):
        whole = chunk if whole is None else whole + chunk
    told, why = whole.usage_metadata, whole.response_metadata
    return told["input_tokens"], told["output_tokens"], why.get("finish_reason") or why.get("stop_reason")


async def pydantic(form, often):
    model = {
        "openai": lambda: OpenAIChatModel("m", provider=OpenAIProvider(base_url=f"{base}/{often}/v1", api_key="k")),
        "anthropic": lambda: AnthropicModel("m", provider=AnthropicProvider(base_url=f"{base}/{often}", api_key="k")),
    }[form]()
    async with Agent(model).run_stream("count") as answer:
        async for _ in answer.stream_text(delta=True):
            pass
        return answer.usage.input_tokens, answer.usage.output_tokens


for each in EACH:
    print("langchain", *each, *langchain(*each))
for each in EACH:
    print("pydantic-ai", *each, *asyncio.run(pydantic(*each)))
END
cat "$work/seen"
diff "$work/expected" "$work/seen" && echo "as stated"
