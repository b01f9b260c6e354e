#!/usr/bin/env bash
# litellm 1.110.2 (Python): a stream whose connection ends well before the provider has said that it is over raises an error where
# the model is OpenAI's or Anthropic's. Where it is Google's it raises nothing and makes up the `finish_reason` "stop", which
# nobody has sent: half an answer cannot be told from a whole one.
#
# Seen on 2026-11-29. Each line: the provider, the text, the finish reasons, how the loop ended.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check litellm==1.110.2
cat >"$work/expected" <<'END'
openai 'half an ' [] MidStreamFallbackError
anthropic 'half an ' [] MidStreamFallbackError
gemini 'half an ' ['stop'] silently
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
STREAMS = {
    "chat/completions": [
        {**CHUNK, "choices": [{"index": 0, "delta": {"role": "assistant", "content": "half an "}, "finish_reason": None}]},
    ],
    "messages": [
        {"type": "message_start", "message": MESSAGE},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "half an "}},
    ],
    "streamGenerateContent": [
        {"candidates": [{"content": {"role": "model", "parts": [{"text": "half an "}]}, "index": 0}],
         "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 3, "totalTokenCount": 12}},
    ],
}

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        [events] = [events for name, events in STREAMS.items() if name in self.path]
        for event in events:
            name = f"event: {event['type']}\n" if "type" in event else ""
            record = f"{name}data: {json.dumps(event)}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(record), record))
        self.wfile.write(b"0\r\n\r\n")

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
base = f"http://127.0.0.1:{server.server_address[1]}"
question = [{"role": "user", "content": "x"}]
for provider in ("openai", "anthropic", "gemini"):
    text, reasons, end = "", [], "silently"
    try:
        for chunk in litellm.completion(model=f"{provider}/m", api_base=base, api_key="k", messages=question, stream=True):
            for choice in chunk.choices:
                text += choice.delta.content or ""
                reasons += [choice.finish_reason] if choice.finish_reason else []
    except Exception as error:
        end = type(error).__name__
    print(provider, repr(text), reasons, end)
END
cat "$work/seen"
diff "$work/expected" "$work/seen" && echo "as stated"
