#!/usr/bin/env bash
# assemblyai 1.8.2 (Python, streaming v3): the reason in a server's close frame is thrown away where the code is one of the
# SDK's own, and its own sentence is told instead. A private gateway that closes with 4004 "limit reached" is reported as
# "Session Not Found", 4003 "blocked" as a missing credit card, 4029 "too many sessions" as audio sent too fast. Codes
# that it does not know keep their reason.
#
# Seen on 2026-11-29. The close code, what the application's error handler is told of the reason "said by the server".
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check assemblyai==1.8.2 aiohttp==3.14.5
cat >"$work/expected" <<'END'
4001 Not Authorized
4003 This feature is paid-only and requires you to add a credit card.
4004 Session Not Found
4008 Session Expired
4029 Client sent audio too fast
4502 said by the server
END
"$work/venv/bin/python" - >"$work/seen" 2>"$work/log" <<'END' || { cat "$work/log"; exit 1; }
import asyncio
import queue
import threading
from aiohttp import web
from assemblyai.streaming.v3 import StreamingClient, StreamingClientOptions, StreamingEvents, StreamingParameters

code = None

async def transcribe(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.send_json({"type": "Begin", "id": "00000000-0000-4000-8000-000000000000", "expires_at": 1999999999})
    await asyncio.sleep(0.2)
    await socket.close(code=code, message=b"said by the server")
    return socket

async def serve(handle, **options):
    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, **options).start()
    return runner.addresses[0][1]

ports = queue.Queue()

async def stay():
    ports.put(await serve(transcribe))
    await asyncio.Event().wait()

threading.Thread(target=lambda: asyncio.run(stay()), daemon=True).start()
port = ports.get()
for code in (4001, 4003, 4004, 4008, 4029, 4502):
    told = queue.Queue()
    client = StreamingClient(StreamingClientOptions(api_key="k", api_host=f"ws://127.0.0.1:{port}"))
    client.on(StreamingEvents.Error, lambda _, error: told.put(str(error)))
    client.connect(StreamingParameters(sample_rate=16000))
    print(code, told.get(timeout=10).splitlines()[0])
    client.disconnect()
END
cat "$work/seen"
diff "$work/expected" "$work/seen" && echo "as stated"
