"""openai-python, Responses over WebSocket: responses_sync.py BASE_URL USER, with the key in OPENAI_API_KEY."""

import sys
from contextlib import suppress

from openai import OpenAI
from websockets.exceptions import ConnectionClosed

from heard import Heard

base_url, user = sys.argv[1:]
QUESTIONS = ["Zażółć gęślą jaźń, 你好", "And now?", "Still there?", "Good night."]
heard = Heard()


def ask(connection, question):
    # Who is hung up on while asking reads on, to learn why.
    with suppress(ConnectionClosed):
        connection.response.create(model="gpt-6-luna", input=question)


def converse(connection):
    questions = list(QUESTIONS)
    ask(connection, questions.pop(0))
    for event in connection:
        if event.type == "error":
            heard.result["error"] = event.error.code
            heard.result["status"] = event.status
        elif event.type == "response.completed":
            heard.add(event.response.usage.to_dict())
            heard.result["responses"] += 1
            if not questions:
                break
            ask(connection, questions.pop(0))


try:
    with OpenAI(base_url=base_url, default_headers={"x-user-id": user}).responses.connect() as connection:
        converse(connection)
except ConnectionClosed as error:
    heard.closed(error)
heard.tell()
