"""What the clients of providers that bill time have in common: what they send, and how they tell what they heard."""

import json

# Half a second of 16 kHz.
PIECE = bytes(16_000)
PIECES = 4
PAUSE_SECONDS = 0.05

result = {"answers": 0, "stated_ms": None, "error": None}


def failed(kind, code, text):
    """The first reason is the one that counts."""
    if result["error"] is None:
        result["error"] = {"type": kind, "code": code, "text": str(text)}


def tell():
    print(json.dumps(result))
