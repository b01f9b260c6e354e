"""openai-python, asyncio: openai_async.py BASE_URL USER, with the key in OPENAI_API_KEY."""

import asyncio
import sys
from contextlib import suppress

from openai import AsyncOpenAI
from websockets.exceptions import ConnectionClosed

from conversation import MODEL, Conversation

base_url, user = sys.argv[1:]
conversation = Conversation()


async def main():
    client = AsyncOpenAI(base_url=base_url, default_headers={"x-user-id": user})
    async with client.realtime.connect(model=MODEL) as connection:
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
