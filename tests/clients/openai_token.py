"""openai-python, blocking, asks for a page's token and opens a session with it: openai_token.py BASE_URL USER, with the key in
OPENAI_API_KEY."""

import sys

from openai import OpenAI

from conversation import MODEL, Conversation

base_url, user = sys.argv[1:]
conversation = Conversation()

server = OpenAI(base_url=base_url, default_headers={"x-user-id": user})
secret = server.realtime.client_secrets.create(
    session={"type": "realtime", "model": MODEL}, expires_after={"anchor": "created_at", "seconds": 60}
)
page = OpenAI(base_url=base_url, api_key=secret.value)
with page.realtime.connect(model=secret.session.model) as connection:
    for event in connection:
        for reply in conversation.hear(event.to_dict()):
            connection.send(reply)
        if conversation.over:
            break
conversation.tell()
