#!/usr/bin/env bash
# livekit-plugins-openai 1.8.9 with livekit-agents 1.8.9: a realtime session whose server answers with an `error` event and
# a close is dialled again several times a second and without end, whatever the close code (4003 here: not allowed), unless
# `error.type` or `error.code` is one of a few words of OpenAI's. With `account_deactivated` it is dialled once, and the
# error is told as final. So a gateway that refuses in words of its own gets a storm from each agent.
#
# Seen on 2026-11-29: 44 dials in five seconds, and one. The word, whether it was dialled more than ten times, and whether
# the last error that the application was told may pass.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check livekit-agents==1.8.9 livekit-plugins-openai==1.8.9 aiohttp==3.14.5
cat >"$work/expected" <<'END'
policy_violation True True
account_deactivated False False
END
"$work/venv/bin/python" - >"$work/seen" 2>"$work/log" <<'END' || { cat "$work/log"; exit 1; }
import asyncio
import contextlib
from aiohttp import web
from livekit.plugins import openai

word = None
dials = 0

async def refuse(request):
    global dials
    dials += 1
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    error = {"type": word, "code": "blocked", "message": "blocked by an operator", "param": None, "event_id": None}
    await socket.send_json({"type": "error", "event_id": "1", "error": error})
    await socket.close(code=4003, message=b"blocked")
    return socket

async def serve(handle, **options):
    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, **options).start()
    return runner.addresses[0][1]

async def main():
    global word, dials
    port = await serve(refuse)
    for word in ("policy_violation", "account_deactivated"):
        dials, errors = 0, []
        session = openai.realtime.RealtimeModel(
            base_url=f"http://127.0.0.1:{port}/v1", api_key="k", model="gpt-realtime").session()
        session.on("error", errors.append)
        await asyncio.sleep(5)
        print(word, dials > 10, errors[-1].recoverable)
        with contextlib.suppress(Exception):
            await asyncio.wait_for(session.aclose(), 3)

asyncio.run(main())
END
cat "$work/seen"
diff "$work/expected" "$work/seen" && echo "as stated"
