"""Pipecat's Gemini Live service: pipecat_gemini.py BASE_URL, which is all that tells who speaks, with the key in
GOOGLE_API_KEY. It always speaks TLS: SSL_CERT_FILE names a private authority."""

import os
import sys

from google.genai.types import HttpOptions
from pipecat.frames.frames import InputTextRawFrame
from pipecat.services.google.gemini_live.llm import GeminiLiveLLMService

from pipecat_pipeline import run

options = HttpOptions(base_url=sys.argv[1])
turns = [InputTextRawFrame(text=text) for text in ("And now?", "Still there?", "Good night.")]
run(lambda: GeminiLiveLLMService(api_key=os.environ["GOOGLE_API_KEY"], http_options=options), turns)
