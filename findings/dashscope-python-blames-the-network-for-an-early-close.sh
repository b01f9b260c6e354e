#!/usr/bin/env bash
# dashscope 2.0.2 (Python, Qwen-Omni realtime): a server that ends a session right after the upgrade, with a close code and a
# reason, is reported five seconds later as a network fault: `connect()` raises TimeoutError, which asks to check connection,
# firewall and proxy. The same close 0.3 s later is told at once to the callback, with code and reason. So a server that
# refuses a user at once, as most do, sends its operators looking for a firewall.
#
# Seen on 2026-11-29: what connect() does, and what the callback is told, by how long after the upgrade the close comes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check dashscope==2.0.2 websocket-client==1.8.0 aiohttp==3.14.5
cat >"$work/expected" <<'END'
0.0 s: connect raised TimeoutError that blames the network: True, after 5 s
0.3 s: connect returned, on_close told 4003 user is blocked
END
"$work/venv/bin/python" - >"$work/seen" 2>"$work/log" <<'END' || { cat "$work/log"; exit 1; }
import asyncio
import threading
import time
from aiohttp import web
import dashscope
from dashscope.audio.qwen_omni import OmniRealtimeCallback, OmniRealtimeConversation

dashscope.api_key = "k"
delay = 0.0

async def realtime(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await asyncio.sleep(delay)
    await socket.close(code=4003, message=b"user is blocked")
    return socket

def serve(started):
    async def run():
        app = web.Application()
        app.router.add_get("/{path:.*}", realtime)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        started.append(runner.addresses[0][1])
        await asyncio.Event().wait()
    asyncio.run(run())

started = []
threading.Thread(target=serve, args=(started,), daemon=True).start()
while not started:
    time.sleep(0.01)

class Callback(OmniRealtimeCallback):
    def __init__(self):
        self.told = threading.Event()
        self.what = "nothing"

    def on_open(self):
        pass

    def on_event(self, message):
        pass

    def on_close(self, code, reason):
        self.what = f"{code} {reason}"
        self.told.set()

for delay in (0.0, 0.3):
    callback = Callback()
    conversation = OmniRealtimeConversation(model="m", callback=callback, url=f"ws://127.0.0.1:{started[0]}/realtime")
    began = time.monotonic()
    try:
        conversation.connect()
        callback.told.wait(5)
        print(f"{delay} s: connect returned, on_close told {callback.what}")
    except Exception as error:
        took = round(time.monotonic() - began)
        blames = "network" in str(error).lower()
        print(f"{delay} s: connect raised {type(error).__name__} that blames the network: {blames}, after {took} s")
END
cat "$work/seen"
diff "$work/expected" "$work/seen" && echo "as stated"
