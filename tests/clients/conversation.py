"""What every Python client here says, and what it makes of what it hears."""

import base64
import json

MODEL = "gpt-realtime"
SPEECH = base64.b64encode(bytes(4800)).decode()  # 100 ms of silence


def text(role, words):
    kind = "input_text" if role == "user" else "output_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": words}]}


# A spoken turn that is transcribed, a written one, one with a tool's output, a long spoken one.
TURNS = [
    [
        {
            "type": "session.update",
            "session": {
                "type": "realtime",
                "audio": {"input": {"turn_detection": None, "transcription": {"model": "gpt-4o-mini-transcribe"}}},
            },
        },
        *[{"type": "input_audio_buffer.append", "audio": SPEECH}] * 5,
        {"type": "input_audio_buffer.commit"},
        {"type": "response.create"},
    ],
    [
        {"type": "conversation.item.create", "item": text("user", "Zażółć gęślą jaźń, 你好")},
        {"type": "response.create", "response": {"output_modalities": ["text"]}},
    ],
    [
        {
            "type": "conversation.item.create",
            "item": {"type": "function_call_output", "call_id": "call_1", "output": json.dumps({"celsius": 21})},
        },
        {"type": "response.create"},
    ],
    [
        {"type": "input_audio_buffer.append", "audio": base64.b64encode(bytes(480_000)).decode()},
        {"type": "input_audio_buffer.commit"},
        {"type": "response.create"},
    ],
]


class Conversation:
    """Sums the usage that is heard, and says the next turn when one is over."""

    def __init__(self):
        self.turns = list(TURNS)
        self.over = False
        self.result = {"input_tokens": 0, "output_tokens": 0, "responses": 0, "error": None, "close_code": None}

    def hear(self, event):
        """Takes a server event as a dict; returns the client events to answer with."""
        kind = event["type"]
        if kind == "error":
            self.result["error"] = event["error"]["code"]
        elif kind == "conversation.item.input_audio_transcription.completed":
            self.add(event["usage"])
        elif kind == "response.done":
            self.add(event["response"]["usage"])
            self.result["responses"] += 1
            self.over = not self.turns
        may_speak = kind in ("session.created", "response.done") and self.turns
        return self.turns.pop(0) if may_speak else []

    def add(self, usage):
        self.result["input_tokens"] += usage["input_tokens"]
        self.result["output_tokens"] += usage["output_tokens"]

    def closed(self, error):
        """The other side closed; `error` is what `websockets` raises then."""
        self.result["close_code"] = error.rcvd.code if error.rcvd else 1006

    def tell(self):
        print(json.dumps(self.result))
