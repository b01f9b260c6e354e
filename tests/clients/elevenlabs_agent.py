"""elevenlabs: elevenlabs_agent.py BASE_URL, which holds the key that tells who speaks, for an agent's socket has no headers."""

import os
import sys
import time

from elevenlabs.client import ElevenLabs
from elevenlabs.conversational_ai.conversation import AudioInterface, Conversation
from sound import PAUSE_SECONDS, PIECE, PIECES, failed, result, tell

base_url = sys.argv[1]


class Microphone(AudioInterface):
    """Hears nothing and is heard by nobody; what is said is put in by hand."""

    def start(self, input_callback):
        self.say = input_callback

    def stop(self):
        pass

    def output(self, audio):
        pass

    def interrupt(self):
        pass


def hear(_):
    result["answers"] += 1


def end(details):
    if details.reason != "user":
        failed(details.reason, details.close_code, details.close_reason)


microphone = Microphone()
conversation = Conversation(
    ElevenLabs(api_key=os.environ["PROVIDER_KEY"], base_url=base_url),
    "agent_1",
    requires_auth="SIGNED" in os.environ,
    audio_interface=microphone,
    callback_agent_response=hear,
    callback_disconnect=end,
)
conversation.start_session()
until = time.monotonic() + 5
while not hasattr(microphone, "say") and time.monotonic() < until and result["error"] is None:
    time.sleep(0.01)
for _ in range(int(os.environ.get("PIECES", PIECES))):
    if result["error"] is None and hasattr(microphone, "say"):
        microphone.say(PIECE)
        time.sleep(float(os.environ.get("PAUSE_SECONDS", PAUSE_SECONDS)))
time.sleep(0.2)
conversation.end_session()
conversation.wait_for_session_end()
tell()
