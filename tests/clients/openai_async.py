"""openai-python, asyncio: openai_async.py BASE_URL USER, with the key in OPENAI_API_KEY. With DEPLOYMENT set it asks Azure's
preview for that deployment, where BASE_URL has no path."""

import asyncio
import os
import sys
from contextlib import suppress

from openai import AsyncAzureOpenAI, AsyncOpenAI
from websockets.exceptions import ConnectionClosed

from conversation import FORMER, GA, MODEL, Conversation

base_url, user = sys.argv[1:]
deployment = os.environ.get("DEPLOYMENT")
conversation = Conversation(FORMER if deployment else GA)


def client():
    headers = {"x-user-id": user}
    if not deployment:
        return AsyncOpenAI(base_url=base_url, default_headers=headers)
    return AsyncAzureOpenAI(
        azure_endpoint=base_url,
        websocket_base_url=base_url.replace("http", "ws", 1) + "/openai",
        api_key=os.environ["OPENAI_API_KEY"],
        api_version="2025-04-01-preview",
        default_headers=headers,
    )


async def main():
    async with client().realtime.connect(model=deployment or MODEL) as connection:
        async for event in connection:
            # Who is hung up on while speaking reads on, to learn why.
            with suppress(ConnectionClosed):
                for reply in conversation.hear(event.to_dict()):
                    await connection.send(reply)
            if conversation.over:
                break


try:
    asyncio.run(main())
except ConnectionClosed as error:
    conversation.closed(error)
conversation.tell()
