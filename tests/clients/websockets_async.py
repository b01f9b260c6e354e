"""The `websockets` library, compression and all: websockets_async.py BASE_URL USER, with the key in OPENAI_API_KEY."""

import asyncio
import json
import os
import sys
from contextlib import suppress

import websockets

from conversation import MODEL, Conversation

base_url, user = sys.argv[1:]
conversation = Conversation()


async def main():
    url = base_url.replace("http", "ws", 1) + f"/realtime?model={MODEL}"
    headers = {"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}", "x-user-id": user}
    async with websockets.connect(url, additional_headers=headers) as connection:
        async for message in connection:
            # Who is hung up on while speaking reads on, to learn why.
            with suppress(websockets.ConnectionClosed):
                for reply in conversation.hear(json.loads(message)):
                    await connection.send(json.dumps(reply))
            if conversation.over:
                await (await connection.ping())
                break


try:
    asyncio.run(main())
except websockets.ConnectionClosed as error:
    conversation.closed(error)
conversation.tell()
