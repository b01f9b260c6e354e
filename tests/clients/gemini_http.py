"""google-genai's requests, blocking and not: gemini_http.py BASE_URL USER, with the key in GOOGLE_API_KEY."""

import asyncio
import sys

from asks import MESSAGES, ask, last, last_of, used
from google import genai

ASK = {"model": "gemini-3.8-flash", "contents": MESSAGES[0]["content"]}

base_url, user = sys.argv[1:]
client = genai.Client(http_options={"base_url": base_url, "headers": {"x-user-id": user}})


def use(answer):
    usage = answer.usage_metadata
    used(usage.prompt_token_count or 0, (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0))


async def asynchronous():
    for answer in await asyncio.gather(*[client.aio.models.generate_content(**ASK) for _ in range(5)]):
        use(answer)
    use(await last_of(await client.aio.models.generate_content_stream(**ASK)))


ask({
    "generate": lambda: use(client.models.generate_content(**ASK)),
    "stream": lambda: use(last(client.models.generate_content_stream(**ASK))),
    "asynchronous": lambda: asyncio.run(asynchronous()),
}, lambda error: {"code": getattr(error, "status", None), "status": getattr(error, "code", None)})
