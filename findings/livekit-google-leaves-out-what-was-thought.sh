#!/usr/bin/env bash
# livekit-plugins-google 1.8.9 (Python, Gemini Live): of what a turn used, the tokens that the model thought with and the results of
# tools that it read are in no field of `RealtimeModelMetrics`, and so not in LiveKit's usage collector. Google bills the first as text
# out and the second as text in, beside `responseTokenCount` and `promptTokenCount`. `total_tokens` does not help: it is Google's
# figure, which leaves the thoughts out as well. Whoever bills or limits by these metrics counts a model that thinks, or that uses
# tools, too low in each turn, by more the more it thinks.
#
# Seen on 2026-12-01. In and out as the metrics of a turn tell them, and as the server has stated them; and whether its figures of thoughts
# and of tools' results, alone or added up, are anywhere in the metrics.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check livekit-agents==1.8.9 livekit-plugins-google==1.8.9
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=provider -addext subjectAltName=IP:127.0.0.1 \
    -keyout "$work/key.pem" -out "$work/certificate.pem" 2>/dev/null
cat >"$work/expected" <<'END'
in 500 of 560, out 40 of 160, total 540 of 720
anywhere: False
END
cat >"$work/try.py" <<'END'
import asyncio
import json
import logging
import os
import ssl
import sys

from aiohttp import web
from google.genai.types import HttpOptions
from livekit.plugins import google

logging.disable(logging.CRITICAL)
TURN = {
    "serverContent": {"modelTurn": {"parts": [{"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": "AAAA"}}]}, "turnComplete": True},
    "usageMetadata": {
        "promptTokenCount": 500, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 500}],
        "toolUsePromptTokenCount": 60, "thoughtsTokenCount": 120,
        "responseTokenCount": 40, "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 40}], "totalTokenCount": 540,
    },
}


async def live(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        event = json.loads(message.data)
        if "setup" in event:
            await socket.send_bytes(b'{"setupComplete":{}}')
        else:
            await socket.send_bytes(json.dumps(TURN).encode())
    return socket


def numbers(told):
    if isinstance(told, dict):
        return [number for value in told.values() for number in numbers(value)]
    return [told] if isinstance(told, int) else []


async def main(certificate, key):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    app = web.Application()
    app.router.add_get("/{path:.*}", live)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    options = HttpOptions(base_url=f"https://127.0.0.1:{runner.addresses[0][1]}")
    session = google.realtime.RealtimeModel(model="gemini-3.8-live", api_key="k", http_options=options).session()
    told = asyncio.Queue()
    session.on("metrics_collected", told.put_nowait)
    await session.generate_reply(instructions="x")
    # Others are of the connection.
    while not (metrics := await asyncio.wait_for(told.get(), 10)).total_tokens:
        pass
    stated = TURN["usageMetadata"]
    spent_in = stated["promptTokenCount"] + stated["toolUsePromptTokenCount"]
    spent_out = stated["responseTokenCount"] + stated["thoughtsTokenCount"]
    print(f"in {metrics.input_tokens} of {spent_in}, out {metrics.output_tokens} of {spent_out}, "
          f"total {metrics.total_tokens} of {spent_in + spent_out}")
    apart = {stated["toolUsePromptTokenCount"], stated["thoughtsTokenCount"], spent_in, spent_out}
    print("anywhere:", bool(apart & set(numbers(metrics.model_dump()))), flush=True)
    os._exit(0)


asyncio.run(main(*sys.argv[1:]))
END
SSL_CERT_FILE=$work/certificate.pem "$work/venv/bin/python" "$work/try.py" "$work/certificate.pem" "$work/key.pem" \
    >"$work/seen" 2>"$work/log" || { cat "$work/log"; exit 1; }
cat "$work/seen"
diff "$work/expected" "$work/seen" && echo "as stated"
