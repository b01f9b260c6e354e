#!/usr/bin/env bash
# litellm 1.110.2 (Python): a stream in which the same piece of more than two characters comes 100 times in a row is ended with an
# error of status 500, "The model is repeating the same chunk", although the provider goes on and the answer is whole and right: a
# table of equal rows, a list of zeros, "repeat after me". The connection is dropped, what was generated is paid for, and whoever
# retries status 500 pays again. The same answer with pieces of two characters, or unstreamed, is no error.
#
# Seen on 2026-11-29. Each line: the piece, how often it was sent, how many of them came, how the loop ended.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check litellm==1.110.2
cat >"$work/expected" <<'END'
'0, ' 99 99 silently
'0, ' 150 100 MidStreamFallbackError 500
'0,' 150 150 silently
END
LITELLM_LOCAL_MODEL_COST_MAP=True "$work/venv/bin/python" - >"$work/seen" 2>"$work/log" <<'END' || { cat "$work/log"; exit 1; }
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import litellm

litellm.suppress_debug_info = True

def chunk(delta, finish_reason=None):
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}

class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        piece, count = json.loads(asked["messages"][0]["content"])
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        try:
            for event in [chunk({"content": piece})] * count + [chunk({}, "stop")]:
                self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
            self.wfile.write(b"data: [DONE]\n\n")
        except OSError:
            pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
base = f"http://127.0.0.1:{server.server_address[1]}"
for piece, count in (("0, ", 99), ("0, ", 150), ("0,", 150)):
    question = [{"role": "user", "content": json.dumps([piece, count])}]
    came, end = 0, "silently"
    try:
        for event in litellm.completion(model="openai/m", api_base=base, api_key="k", messages=question, stream=True):
            came += bool(event.choices[0].delta.content)
    except Exception as error:
        end = f"{type(error).__name__} {error.status_code}"
    print(repr(piece), count, came, end)
END
cat "$work/seen"
diff "$work/expected" "$work/seen" && echo "as stated"
