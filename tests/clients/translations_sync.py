"""openai-python, a translation: translations_sync.py BASE_URL USER, with the key in OPENAI_API_KEY."""

import base64
import sys
from contextlib import suppress

from openai import OpenAI
from websockets.exceptions import ConnectionClosed

from heard import Heard

base_url, user = sys.argv[1:]
PIECES = 4
HALF_A_SECOND = base64.b64encode(bytes(24_000)).decode()
heard = Heard()
heard.result["audio_ms"] = 0


def speak(connection):
    # Who is hung up on while speaking reads on, to learn why.
    with suppress(ConnectionClosed):
        connection.session.input_audio_buffer.append(audio=HALF_A_SECOND)
        heard.result["audio_ms"] += 500


def hear(connection, event):
    if event.type == "session.created":
        connection.session.update(session={"audio": {"output": {"language": "de"}}})
        speak(connection)
    elif event.type == "session.output_transcript.delta":
        heard.result["responses"] += 1
        speak(connection) if heard.result["responses"] < PIECES else connection.session.close()
    elif event.type == "error":
        heard.result["error"] = event.error.code


try:
    client = OpenAI(base_url=base_url, default_headers={"x-user-id": user})
    with client.realtime.translations.connect(model="gpt-realtime-translate") as connection:
        for event in connection:
            hear(connection, event)
except ConnectionClosed as error:
    heard.closed(error)
heard.tell()
