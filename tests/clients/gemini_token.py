"""google-genai asks for a page's token: gemini_token.py ORIGIN KEY. Prints its name."""

import json
import sys
import warnings

from google import genai

warnings.simplefilter("ignore")
origin, key = sys.argv[1:]
client = genai.Client(api_key=key, http_options={"base_url": origin, "api_version": "v1alpha"})
constraints = {"model": "gemini-3.8-live", "config": {"response_modalities": ["AUDIO"]}}
token = client.auth_tokens.create(config={"uses": 1, "live_connect_constraints": constraints})
print(json.dumps({"name": token.name}))
