#!/usr/bin/env bash
# anthropic 2.14.0 (Python): a stream whose connection ends well after the text but before `message_delta` and
# `message_stop` (a gateway that gave up, a worker that was replaced) is no error. The final message has all of the text
# and the usage of `message_start`: 1 output token, whatever was said; only `stop_reason` is None. Whoever meters by the
# final message's usage books a long answer at next to nothing.
#
# Seen on 2026-11-29. Words of the answer, output tokens, stop reason.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check anthropic==2.14.0
cat >"$work/expected" <<'END'
200 1 None
END
"$work/venv/bin/python" - >"$work/seen" 2>"$work/log" <<'END' || { cat "$work/log"; exit 1; }
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import anthropic

START = {"type": "message_start", "message": {
    "id": "m", "type": "message", "role": "assistant", "content": [], "model": "claude", "stop_reason": None,
    "stop_sequence": None, "usage": {"input_tokens": 900, "output_tokens": 1}}}
BLOCK = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
WORD = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "word "}}

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
        for event in [START, BLOCK] + [WORD] * 200:
            record = f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(record), record))
        self.wfile.write(b"0\r\n\r\n")

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = anthropic.Anthropic(api_key="k", base_url=f"http://127.0.0.1:{server.server_address[1]}", max_retries=0)
question = [{"role": "user", "content": "a long story"}]
with client.messages.stream(model="claude", max_tokens=4000, messages=question) as stream:
    text = "".join(stream.text_stream)
    message = stream.get_final_message()
print(len(text.split()), message.usage.output_tokens, message.stop_reason)
END
cat "$work/seen"
diff "$work/expected" "$work/seen" && echo "as stated"
