#!/usr/bin/env bash
# openai 3.57.0 (Python, websockets 15.0.1): a server that goes away (close code 1001) in the middle of a response ends
# `async for event in connection` as if the response were complete: no exception, no last event. Any other code above 1000
# raises ConnectionClosedError. So an application takes half an answer for a whole one, and a proxy that shuts down with
# 1001 alone hides from its users that something was cut.
#
# Seen on 2026-11-29. Each line: the code, the last event, how the loop ended.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check openai[realtime]==3.57.0 websockets==15.0.1 aiohttp==3.14.5
cat >"$work/expected" <<'END'
1001 response.output_text.delta silently
1012 response.output_text.delta ConnectionClosedError
4008 response.output_text.delta ConnectionClosedError
END
"$work/venv/bin/python" - >"$work/seen" 2>"$work/log" <<'END' || { cat "$work/log"; exit 1; }
import asyncio
from aiohttp import web
from openai import AsyncOpenAI

code = None

async def realtime(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    session = {"type": "realtime", "object": "realtime.session", "id": "s", "model": "m"}
    await socket.send_json({"type": "session.created", "event_id": "1", "session": session})
    await socket.receive()
    response = {"id": "r", "object": "realtime.response", "status": "in_progress"}
    await socket.send_json({"type": "response.created", "event_id": "2", "response": response})
    await socket.send_json({"type": "response.output_text.delta", "event_id": "3", "response_id": "r", "item_id": "i",
                            "output_index": 0, "content_index": 0, "delta": "half an ans"})
    await socket.close(code=code, message=b"going away")
    return socket

async def serve(handle, **options):
    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, **options).start()
    return runner.addresses[0][1]

async def main():
    global code
    port = await serve(realtime)
    client = AsyncOpenAI(api_key="k", websocket_base_url=f"ws://127.0.0.1:{port}/v1")
    for code in (1001, 1012, 4008):
        last, end = None, "silently"
        async with client.realtime.connect(model="m") as connection:
            await connection.response.create()
            try:
                async for event in connection:
                    last = event.type
            except Exception as error:
                end = type(error).__name__
        print(code, last, end)

asyncio.run(main())
END
cat "$work/seen"
diff "$work/expected" "$work/seen" && echo "as stated"
