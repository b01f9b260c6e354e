#!/usr/bin/env bash
# azure-ai-voicelive 1.3.1 (Python): `async for event in connection` ends without an exception whatever the close code was:
# 1000, 1011 (the server failed) and 4004 (a private code) look alike, as if the conversation were over. `recv()` on the same
# connection raises and has the code, but never the reason. So an application with the documented loop neither retries after
# a failure nor can it tell its user why it was ended; only an event before the close reaches it.
#
# Seen on 2026-11-29: how the loop ends, and what recv() raises with which code, and whether the reason is in it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check azure-ai-voicelive==1.3.1 aiohttp==3.14.5
cat >"$work/expected" <<'END'
1000 loop: 1 event, no exception
1000 recv: ConnectionClosed 1000, reason told: False
1011 loop: 1 event, no exception
1011 recv: ConnectionClosed 1011, reason told: False
4004 loop: 1 event, no exception
4004 recv: ConnectionClosed 4004, reason told: False
END
"$work/venv/bin/python" - >"$work/seen" 2>"$work/log" <<'END' || { cat "$work/log"; exit 1; }
import asyncio
from aiohttp import web
from azure.ai.voicelive.aio import connect
from azure.core.credentials import AzureKeyCredential

code = None

async def realtime(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    session = {"id": "s", "model": "m", "modalities": ["text"]}
    await socket.send_json({"type": "session.created", "event_id": "e1", "session": session})
    await asyncio.sleep(0.2)
    await socket.close(code=code, message=b"why it ended")
    return socket

async def serve():
    app = web.Application()
    app.router.add_get("/{path:.*}", realtime)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner.addresses[0][1]

async def main():
    global code
    port = await serve()
    dial = lambda: connect(endpoint=f"http://127.0.0.1:{port}", credential=AzureKeyCredential("k"), model="m")
    for code in (1000, 1011, 4004):
        async with dial() as connection:
            events = 0
            try:
                async for _ in connection:
                    events += 1
                print(f"{code} loop: {events} event, no exception")
            except Exception as error:
                print(f"{code} loop: {events} event, {type(error).__name__}")
        async with dial() as connection:
            await connection.recv()
            try:
                await connection.recv()
                print(f"{code} recv: nothing raised")
            except Exception as error:
                told = "why it ended" in f"{error} {vars(error)}"
                print(f"{code} recv: {type(error).__name__} {getattr(error, 'code', None)}, reason told: {told}")

asyncio.run(main())
END
cat "$work/seen"
diff "$work/expected" "$work/seen" && echo "as stated"
