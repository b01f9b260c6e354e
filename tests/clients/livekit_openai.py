"""LiveKit's agent with OpenAI's realtime model: livekit_openai.py BASE_URL USER, with the key in OPENAI_API_KEY. Its base URL
keeps its query, which tells who speaks."""

import sys

from livekit.plugins import openai

from livekit_session import run

base_url, user = sys.argv[1:]
run(lambda: openai.realtime.RealtimeModel(base_url=f"{base_url}?user_id={user}", modalities=["text"]))
