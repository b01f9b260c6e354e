"""google-genai's requests: gemini_http.py BASE_URL USER, with the key in GOOGLE_API_KEY."""

import json
import sys

from google import genai
from google.genai import errors

MODEL = "gemini-3.8-flash"

base_url, user = sys.argv[1:]
client = genai.Client(http_options={"base_url": base_url, "headers": {"x-user-id": user}})
heard = {"requests": 0, "input_tokens": 0, "output_tokens": 0, "untold": 0, "error": None, "status": None}


def tell(usage):
    heard["requests"] += 1
    heard["input_tokens"] += usage.prompt_token_count or 0
    heard["output_tokens"] += (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)


try:
    for _ in range(3):
        tell(client.models.generate_content(model=MODEL, contents="hello").usage_metadata)
    tell(list(client.models.generate_content_stream(model=MODEL, contents="hello"))[-1].usage_metadata)
except errors.APIError as error:
    heard["error"] = error.status
    heard["status"] = error.code
print(json.dumps(heard))
