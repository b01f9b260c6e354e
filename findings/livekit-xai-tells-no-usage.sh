#!/usr/bin/env bash
# livekit-plugins-xai 1.8.9 (Python): what a response used is never told. xAI states it beside the response, at the top of
# `response.done`, and leaves `response.usage` an empty object; the plug-in inherits OpenAI's reading of `response.usage` alone,
# so `metrics_collected` comes for every response with 0 tokens of every kind. An application that bills or limits its users by
# these metrics, as LiveKit's own usage collector does, counts nothing.
#
# Seen on 2026-11-29: the tokens that the metrics of a response tell, by where the server states them.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check livekit-agents==1.8.9 livekit-plugins-xai==1.8.9
cat >"$work/expected" <<'END'
beside the response, as xAI does: 0 of 262 tokens told
in the response, as OpenAI does: 262 of 262 tokens told
END
"$work/venv/bin/python" - >"$work/seen" 2>"$work/log" <<'END' || { cat "$work/log"; exit 1; }
import asyncio
import logging
import os

import aiohttp
from aiohttp import web
from livekit.plugins import xai

logging.disable(logging.CRITICAL)
USAGE = {"input_tokens": 12, "input_token_details": {"text_tokens": 12, "audio_tokens": 0},
         "output_tokens": 250, "output_token_details": {"text_tokens": 18, "audio_tokens": 232}, "total_tokens": 262}
beside = True

async def realtime(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.send_json({"type": "session.created", "event_id": "1", "session": {"id": "s", "model": "grok-voice-latest"}})
    await socket.send_json({"type": "conversation.created", "event_id": "2", "conversation": {"id": "c"}})
    async for message in socket:
        event = message.json()
        if event["type"] != "response.create":
            continue
        response = {"id": "r", "object": "realtime.response", "status": "in_progress", "output": [],
                    "metadata": event["response"].get("metadata")}
        await socket.send_json({"type": "response.created", "event_id": "3", "response": response})
        done = {"type": "response.done", "event_id": "4", "response": {**response, "status": "completed", "usage": {}}}
        (done if beside else done["response"])["usage"] = USAGE
        await socket.send_json(done)
    return socket

async def main():
    global beside
    app = web.Application()
    app.router.add_get("/{path:.*}", realtime)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"ws://127.0.0.1:{runner.addresses[0][1]}/v1/realtime"
    async with aiohttp.ClientSession() as http:
        for beside, where in ((True, "beside the response, as xAI does"), (False, "in the response, as OpenAI does")):
            told = asyncio.Queue()
            session = xai.realtime.RealtimeModel(api_key="k", base_url=url, http_session=http).session()
            session.on("metrics_collected", told.put_nowait)
            await session.generate_reply()
            # The first is of the connection.
            while (metrics := await asyncio.wait_for(told.get(), 10)).request_id != "r":
                pass
            print(f"{where}: {metrics.total_tokens} of {USAGE['total_tokens']} tokens told", flush=True)
    os._exit(0)

asyncio.run(main())
END
cat "$work/seen"
diff "$work/expected" "$work/seen" && echo "as stated"
