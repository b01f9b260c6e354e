"""google-genai, an interaction that was begun elsewhere: interactions_async.py BASE_URL USER, with the key in GOOGLE_API_KEY."""

import asyncio
import json
import os
import sys

from google import genai

base_url, user = sys.argv[1:]
result = {"input_tokens": None, "output_tokens": None, "error": None}


async def main():
    options = {"base_url": base_url, "headers": {"x-user-id": user}}
    client = genai.Client(api_key=os.environ["GOOGLE_API_KEY"], http_options=options)
    async with client.aio.interactions.connect("int_1") as session:
        await session.send("Sing of rain")
        await session.complete()
        async for event in session.receive():
            if event.event_type == "error":
                result["error"] = {"type": "error", "code": event.error.code, "text": event.error.message}
            elif event.event_type == "interaction.completed":
                usage = event.usage
                result["input_tokens"] = usage.total_input_tokens
                result["output_tokens"] = usage.total_output_tokens + usage.total_thought_tokens


try:
    asyncio.run(main())
except Exception as error:
    if result["error"] is None:
        result["error"] = {"type": type(error).__name__, "code": getattr(error, "close_code", None), "text": str(error)}
print(json.dumps(result))
