"""LiveKit's agent with xAI's realtime model: livekit_xai.py BASE_URL USER, with the key in XAI_API_KEY. Its base URL keeps its
query, which tells who speaks."""

import sys

from livekit.plugins import xai

from livekit_session import run

base_url, user = sys.argv[1:]
run(lambda: xai.realtime.RealtimeModel(base_url=f"{base_url}/realtime?user_id={user}"))
