"""deepgram-sdk: deepgram_sync.py BASE_URL USER, with the key in PROVIDER_KEY."""

import os
import sys
import threading
import time

from deepgram import DeepgramClient
from deepgram.core.events import EventType
from deepgram.environment import DeepgramClientEnvironment
from sound import PAUSE_SECONDS, PIECE, PIECES, failed, result, tell

base_url, user = sys.argv[1:]
socket_url = base_url.replace("http", "ws", 1)
client = DeepgramClient(
    api_key=os.environ["PROVIDER_KEY"],
    environment=DeepgramClientEnvironment(base=base_url, production=socket_url, agent=socket_url, agent_rest=base_url),
)
over = threading.Event()


def hear(message):
    kind = getattr(message, "type", None)
    if kind == "Results":
        result["answers"] += 1
    elif kind == "Metadata":
        result["stated_ms"] = round(message.duration * 1000)
    elif kind == "Error":
        failed("Error", message.variant, message.description)


def fail(error):
    received = getattr(error, "rcvd", None)
    failed(type(error).__name__, getattr(received, "code", None), error)


with client.listen.v1.connect(
    model="nova-3",
    encoding="linear16",
    sample_rate=16000,
    request_options={"additional_headers": {"x-user-id": user}},
) as connection:
    connection.on(EventType.MESSAGE, hear)
    connection.on(EventType.ERROR, fail)
    connection.on(EventType.CLOSE, lambda _: over.set())
    threading.Thread(target=connection.start_listening, daemon=True).start()
    try:
        for _ in range(PIECES):
            connection.send_media(PIECE)
            time.sleep(PAUSE_SECONDS)
        connection.send_close_stream()
    except Exception as error:
        # Who is hung up on while speaking reads on, to learn why.
        over.wait(5)
        fail(error)
    over.wait(5)
tell()
