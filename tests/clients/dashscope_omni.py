"""dashscope, Qwen-Omni's realtime: dashscope_omni.py BASE_URL USER, with the key in PROVIDER_KEY."""

import os
import sys
import threading

from dashscope.audio.qwen_omni import MultiModality, OmniRealtimeCallback, OmniRealtimeConversation

from conversation import SPEECH
from heard import Heard

base_url, user = sys.argv[1:]
TURNS = 4
heard = Heard()
over = threading.Event()


def speak():
    for _ in range(5):
        talk.append_audio(SPEECH)
    talk.commit()
    talk.create_response()


class Callback(OmniRealtimeCallback):
    def on_event(self, event):
        if event["type"] == "session.created":
            talk.update_session([MultiModality.TEXT, MultiModality.AUDIO], voice="Cherry", enable_turn_detection=False)
            speak()
        elif event["type"] == "response.done":
            heard.add(event["response"]["usage"])
            heard.result["responses"] += 1
            speak() if heard.result["responses"] < TURNS else over.set()
        elif event["type"] == "error":
            heard.result["error"] = event["error"]["code"]

    def on_close(self, code, reason):
        heard.result["close_code"] = code
        over.set()


talk = OmniRealtimeConversation(
    model="qwen-audio-3.1-realtime-flash",
    callback=Callback(),
    url=base_url.replace("http", "ws", 1) + "/api-ws/v1/realtime",
    api_key=os.environ["PROVIDER_KEY"],
    headers={"x-user-id": user},
)
talk.connect()
over.wait(20)
heard.tell()
talk.close()
