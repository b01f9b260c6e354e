#!/usr/bin/env bash
# pipecat-ai 1.14.0 (Python, Gemini Live with a 2.5 model): a server that ends a session in the middle of an answer is dialled
# again at once, whatever the close code says, and each time the whole conversation is sent anew as a turn that is complete.
# So one question of a user is asked, and paid for, three times, within a second; what the user hears begins three times.
# Then one error is told, and it says that reconnecting failed: neither the close code nor the reason is in it, also where the
# reason was that the user has used up what there was.
#
# Seen on 2026-11-29: how often the server was dialled and asked for one question, and what the application was told.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'pipecat-ai[google]==1.14.0' aiohttp==3.14.5
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$work/key.pem" -out "$work/cert.pem" -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost 2>/dev/null
export WORK="$work" SSL_CERT_FILE="$work/cert.pem"
cat >"$work/expected" <<'END'
dials: 3, the question was asked: 3
errors told: 1, with the reason: False
END
"$work/venv/bin/python" - >"$work/seen" 2>"$work/log" <<'END' || { cat "$work/log"; exit 1; }
import asyncio
import json
import os
import ssl
import sys
from aiohttp import web
from google.genai.types import HttpOptions
from loguru import logger
from pipecat.frames.frames import EndFrame, LLMContextFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.services.google.gemini_live.llm import GeminiLiveLLMService
from pipecat.workers.runner import WorkerRunner

logger.remove()
work, dials, asked, errors = os.environ["WORK"], 0, 0, []
SOUND = {"mimeType": "audio/pcm;rate=24000", "data": "AAAA" * 400}
ANSWER = {"serverContent": {"modelTurn": {"parts": [{"inlineData": SOUND}]}}}

async def live(request):
    """Begins an answer to each question, and ends the session in the middle of it, as for a limit."""
    global dials, asked
    dials += 1
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.receive()
    await socket.send_bytes(json.dumps({"setupComplete": {}}).encode())
    async for message in socket:
        content = json.loads(message.data)
        content = content.get("client_content") or content.get("clientContent")
        if content and (content.get("turn_complete") or content.get("turnComplete")):
            asked += "What time is it?" in message.data
            await socket.send_bytes(json.dumps(ANSWER).encode())
            await socket.close(code=4004, message=b"the user's limit is reached")
            break
    return socket

async def serve():
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(f"{work}/cert.pem", f"{work}/key.pem")
    app = web.Application()
    app.router.add_get("/{path:.*}", live)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    return runner.addresses[0][1]

async def main():
    options = HttpOptions(base_url=f"https://localhost:{await serve()}")
    settings = GeminiLiveLLMService.Settings(model="models/gemini-2.5-flash-native-audio-preview-12-2025")
    service = GeminiLiveLLMService(api_key="k", http_options=options, settings=settings)
    worker = PipelineWorker(Pipeline([service]), params=PipelineParams(), idle_timeout_secs=5)

    @worker.event_handler("on_pipeline_error")
    async def on_error(_, frame):
        errors.append(frame.error)

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    context = LLMContext(messages=[{"role": "user", "content": "What time is it?"}])
    await worker.queue_frames([LLMContextFrame(context)])

    async def end():
        await asyncio.sleep(6)
        await worker.queue_frames([EndFrame()])

    ender = asyncio.create_task(end())
    await asyncio.wait_for(runner.run(), 20)
    await ender

asyncio.run(main())
print(f"dials: {dials}, the question was asked: {asked}")
print(f"errors told: {len(errors)}, with the reason: {any('limit is reached' in error for error in errors)}", flush=True)
os._exit(0)
END
cat "$work/seen"
diff "$work/expected" "$work/seen" && echo "as stated"
