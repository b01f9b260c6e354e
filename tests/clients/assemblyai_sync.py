"""assemblyai: assemblyai_sync.py BASE_URL, which holds the key that tells who speaks, for there is no way to set a header."""

import os
import sys
import time

from assemblyai.streaming.v3 import (
    StreamingClient,
    StreamingClientOptions,
    StreamingEvents,
    StreamingParameters,
)
from sound import PAUSE_SECONDS, PIECE, PIECES, failed, result, tell

base_url = sys.argv[1]
options = StreamingClientOptions(api_key=os.environ["PROVIDER_KEY"], api_host=base_url.replace("http", "ws", 1))
client = StreamingClient(options)


def hear_turn(_, turn):
    result["answers"] += 1


def hear_end(_, end):
    result["stated_ms"] = round(end.session_duration_seconds * 1000)


client.on(StreamingEvents.Turn, hear_turn)
client.on(StreamingEvents.Termination, hear_end)
client.on(StreamingEvents.Error, lambda _, error: failed(type(error).__name__, error.code, error))
client.connect(StreamingParameters(sample_rate=16000, speech_model="u3-rt-pro"))
for _ in range(int(os.environ.get("PIECES", PIECES))):
    client.stream(PIECE)
    time.sleep(float(os.environ.get("PAUSE_SECONDS", PAUSE_SECONDS)))
client.disconnect(terminate=True)
tell()
