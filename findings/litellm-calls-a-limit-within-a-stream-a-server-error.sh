#!/usr/bin/env bash
# litellm 1.110.2 (Python): an error that a provider sends in the middle of a stream loses what it was. OpenAI's
# `insufficient_quota` and Anthropic's `rate_limit_error`, both final to their own SDKs' readers, are raised as a
# MidStreamFallbackError of status 500 around an APIConnectionError or an InternalServerError; the same as Google says it is one of
# status 429 around a RateLimitError. Whoever retries or falls back by class or status, as litellm's Router does, goes on asking
# for a user whose quota is used up.
#
# Seen on 2026-11-29. Each line: the provider, what was raised, its status, what it is around.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check litellm==1.110.2
cat >"$work/expected" <<'END'
openai MidStreamFallbackError 500 APIConnectionError
anthropic MidStreamFallbackError 500 InternalServerError
gemini MidStreamFallbackError 429 RateLimitError
END
LITELLM_LOCAL_MODEL_COST_MAP=True "$work/venv/bin/python" - >"$work/seen" 2>"$work/log" <<'END' || { cat "$work/log"; exit 1; }
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import litellm

litellm.suppress_debug_info = True
CHUNK = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
MESSAGE = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None,
           "stop_sequence": None, "usage": {"input_tokens": 9, "output_tokens": 1}}
WORDS = "your quota is used up"
STREAMS = {
    "chat/completions": [
        {**CHUNK, "choices": [{"index": 0, "delta": {"role": "assistant", "content": "half an "}, "finish_reason": None}]},
        {"error": {"type": "insufficient_quota", "code": "insufficient_quota", "message": WORDS, "param": None}},
    ],
    "messages": [
        {"type": "message_start", "message": MESSAGE},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "half an "}},
        {"type": "error", "error": {"type": "rate_limit_error", "message": WORDS}},
    ],
    "streamGenerateContent": [
        {"candidates": [{"content": {"role": "model", "parts": [{"text": "half an "}]}, "index": 0}]},
        {"error": {"code": 429, "message": WORDS, "status": "RESOURCE_EXHAUSTED"}},
    ],
}

class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        [events] = [events for name, events in STREAMS.items() if name in self.path]
        for event in events:
            name = f"event: {event['type']}\n" if "type" in event else ""
            self.wfile.write(f"{name}data: {json.dumps(event)}\n\n".encode())

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
base = f"http://127.0.0.1:{server.server_address[1]}"
question = [{"role": "user", "content": "x"}]
for provider in ("openai", "anthropic", "gemini"):
    try:
        list(litellm.completion(model=f"{provider}/m", api_base=base, api_key="k", messages=question, stream=True))
    except Exception as error:
        print(provider, type(error).__name__, error.status_code, type(error.original_exception).__name__)
END
cat "$work/seen"
diff "$work/expected" "$work/seen" && echo "as stated"
