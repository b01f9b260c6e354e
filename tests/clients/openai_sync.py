"""openai-python, blocking: openai_sync.py BASE_URL USER, with the key in OPENAI_API_KEY."""

import sys
from contextlib import suppress

from openai import OpenAI
from websockets.exceptions import ConnectionClosed

from conversation import MODEL, Conversation

base_url, user = sys.argv[1:]
conversation = Conversation()

client = OpenAI(base_url=base_url, default_headers={"x-user-id": user})
try:
    with client.realtime.connect(model=MODEL) as connection:
        for event in connection:
            # Who is hung up on while speaking reads on, to learn why.
            with suppress(ConnectionClosed):
                for reply in conversation.hear(event.to_dict()):
                    connection.send(reply)
            if conversation.over:
                break
except ConnectionClosed as error:
    conversation.closed(error)
conversation.tell()
