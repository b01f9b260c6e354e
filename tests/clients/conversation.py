"""What every Python client here says, and what it makes of what it hears."""

import base64
import json

from heard import Heard

MODEL = "gpt-realtime"
SPEECH = base64.b64encode(bytes(4800)).decode()  # 100 ms of silence


def text(role, words):
    kind = "input_text" if role == "user" else "output_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": words}]}


TRANSCRIPTION = {"model": "gpt-4o-mini-transcribe"}
# How a session is told to write down what it hears, and not to answer by itself; how a response in writing is asked for.
GA = (
    {"type": "realtime", "audio": {"input": {"turn_detection": None, "transcription": TRANSCRIPTION}}},
    {"output_modalities": ["text"]},
)
# The same in the words that OpenAI had before, and Azure's preview has.
FORMER = ({"turn_detection": None, "input_audio_transcription": TRANSCRIPTION}, {"modalities": ["text"]})


def turns(session, in_writing):
    """A spoken turn that is transcribed, a written one, one with a tool's output, a long spoken one."""
    output = {"type": "function_call_output", "call_id": "call_1", "output": json.dumps({"celsius": 21})}
    return [
        [
            {"type": "session.update", "session": session},
            *[{"type": "input_audio_buffer.append", "audio": SPEECH}] * 5,
            {"type": "input_audio_buffer.commit"},
            {"type": "response.create"},
        ],
        [
            {"type": "conversation.item.create", "item": text("user", "Zażółć gęślą jaźń, 你好")},
            {"type": "response.create", "response": in_writing},
        ],
        [
            {"type": "conversation.item.create", "item": output},
            {"type": "response.create"},
        ],
        [
            {"type": "input_audio_buffer.append", "audio": base64.b64encode(bytes(480_000)).decode()},
            {"type": "input_audio_buffer.commit"},
            {"type": "response.create"},
        ],
    ]


class Conversation(Heard):
    """Sums the usage that is heard, and says the next turn when one is over."""

    def __init__(self, names=GA):
        super().__init__()
        self.turns = turns(*names)
        self.over = False

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
