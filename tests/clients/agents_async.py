"""openai-agents for Python: agents_async.py BASE_URL USER, with the key in OPENAI_API_KEY."""

import asyncio
import os
import sys
from contextlib import suppress

from agents.realtime import RealtimeAgent, RealtimeModelListener, RealtimeRunner
from agents.realtime.model_inputs import RealtimeModelRawClientMessage, RealtimeModelSendRawMessage
from websockets.exceptions import ConnectionClosed

from conversation import MODEL, Conversation

base_url, user = sys.argv[1:]
conversation = Conversation()


def raw(event):
    fields = {key: value for key, value in event.items() if key != "type"}
    return RealtimeModelSendRawMessage(message=RealtimeModelRawClientMessage(type=event["type"], other_data=fields))


class Listener(RealtimeModelListener):
    """Hears everything; a session that is closed on drops what its reader has not taken."""

    async def on_event(self, event):
        if event.type == "raw_server_event":
            with suppress(ConnectionClosed):
                for reply in conversation.hear(event.data):
                    await session.model.send_event(raw(reply))


async def main():
    global session
    runner = RealtimeRunner(RealtimeAgent(name="Assistant", instructions="Be brief."))
    session = await runner.run(
        model_config={
            "url": base_url.replace("http", "ws", 1) + f"/realtime?model={MODEL}",
            "headers": {"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}", "x-user-id": user},
        }
    )
    session.model.add_listener(Listener())
    async with session:
        async for _ in session:
            if conversation.over:
                break


try:
    asyncio.run(main())
except ConnectionClosed as error:
    conversation.closed(error)
conversation.tell()
