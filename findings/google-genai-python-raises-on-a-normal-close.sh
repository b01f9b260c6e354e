#!/usr/bin/env bash
# google-genai 3.6.1 (Python, live sessions): a server that ends a session in order, with 1000 or 1001, raises
# `errors.APIError` from `session.receive()` just as a failure does, with the close code where HTTP statuses are else.
# `.message` is None whatever the reason was: it stands in the exception's text alone. So an application that retries by
# `.code >= 500`, as for HTTP, takes an orderly end (1000) for a server's error, and one that shows `.message` shows
# nothing of why a user was stopped.
#
# Seen on 2026-11-29. The close code, exception, `.code`, `.message`, and the exception's text.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check google-genai==3.6.1 aiohttp==3.14.5
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$work/key.pem" -out "$work/cert.pem" -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost 2>/dev/null
export WORK="$work" SSL_CERT_FILE="$work/cert.pem"
cat >"$work/expected" <<'END'
1000 APIError 1000 None | 1000 None. said by the server
1001 APIError 1001 None | 1001 None. said by the server
4004 APIError 4004 None | 4004 None. said by the server
END
"$work/venv/bin/python" - >"$work/seen" 2>"$work/log" <<'END' || { cat "$work/log"; exit 1; }
import asyncio
import os
import ssl
from aiohttp import web
from google import genai

code = None
work = os.environ["WORK"]

async def live(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.receive()
    await socket.send_json({"setupComplete": {}})
    await socket.receive()
    await socket.close(code=code, message=b"said by the server")
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
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(f"{work}/cert.pem", f"{work}/key.pem")
    port = await serve(live, ssl_context=server)
    client = genai.Client(api_key="k", http_options={"base_url": f"https://localhost:{port}"})
    for code in (1000, 1001, 4004):
        async with client.aio.live.connect(model="m", config={}) as session:
            await session.send_client_content(turns={"role": "user", "parts": [{"text": "hello"}]})
            try:
                async for _ in session.receive():
                    pass
                print(code, "ended")
            except Exception as error:
                print(code, type(error).__name__, error.code, error.message, "|", error)

asyncio.run(main())
END
cat "$work/seen"
diff "$work/expected" "$work/seen" && echo "as stated"
