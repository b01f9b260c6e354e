"""LiveKit's agent with Google's realtime model: livekit_google.py BASE_URL USER, with the key in GOOGLE_API_KEY. It
always speaks TLS: SSL_CERT_FILE names a private authority."""

import sys

from google.genai.types import HttpOptions
from livekit.plugins import google

from livekit_session import run

base_url, user = sys.argv[1:]
options = HttpOptions(base_url=base_url, headers={"x-user-id": user})
run(lambda: google.realtime.RealtimeModel(model="gemini-3.8-live", http_options=options))
