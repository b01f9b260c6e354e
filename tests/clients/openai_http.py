"""openai-python's requests, blocking and not: openai_http.py BASE_URL USER, with the key in OPENAI_API_KEY."""

import asyncio
import json
import sys

import openai
from asks import MESSAGES, ask, last, last_of, pieces, used, used_unknown
from wave_file import wave_file

CHAT = {"model": "gpt-5-mini", "messages": MESSAGES}
# Of what is told no usage the model is another one.
HIDDEN = {"model": "gpt-5-nano", "messages": MESSAGES}
ASK = {"model": "gpt-5-mini", "input": "hello"}
SHOWN = {"stream": True, "stream_options": {"include_usage": True}}
SAY = {"voice": "alloy", "input": "Zażółć gęślą jaźń."}

base_url, user = sys.argv[1:]
settings = {"base_url": base_url, "default_headers": {"x-user-id": user}}
client = openai.OpenAI(**settings)


def use(usage):
    """Of one API they are called prompt and completion, of another input and output."""
    usage = usage.to_dict()
    used(*(usage.get(new, usage.get(old, 0)) for new, old in
           [("input_tokens", "prompt_tokens"), ("output_tokens", "completion_tokens")]))


def chat_hidden():
    """Nothing may show of the usage that this one did not ask for."""
    chunks = list(pieces(client.chat.completions.create(**HIDDEN, stream=True)))
    assert all(chunk.choices and chunk.usage is None for chunk in chunks), chunks
    used_unknown()


def chat_helper():
    """It does not ask for usage either."""
    with client.chat.completions.stream(**HIDDEN) as events:
        assert list(pieces(events)) and events.get_final_completion().usage is None
    used_unknown()


def speech():
    with client.audio.speech.with_streaming_response.create(model="tts-1", **SAY) as answer:
        assert len(b"".join(answer.iter_bytes())) > 0
    used_unknown()


def speech_events():
    with client.audio.speech.with_streaming_response.create(model="gpt-4o-mini-tts", stream_format="sse", **SAY) as answer:
        done = [line for line in answer.iter_lines() if line.startswith("data: ")][-1]
    usage = json.loads(done.removeprefix("data: "))["usage"]
    used(usage["input_tokens"], usage["output_tokens"])


def transcribe(**more):
    return client.audio.transcriptions.create(file=("a.wav", wave_file(1.5)), **more)


def whisper():
    assert transcribe(model="whisper-1", response_format="verbose_json").usage.seconds == 2
    used_unknown()


def picture(**more):
    return client.images.generate(model="gpt-image-2", prompt="a cat", **more)


async def asynchronous():
    async with openai.AsyncOpenAI(**settings) as client:
        for answer in await asyncio.gather(*[client.chat.completions.create(**CHAT) for _ in range(10)]):
            use(answer.usage)
        use((await last_of(await client.chat.completions.create(**CHAT, **SHOWN))).usage)
        use((await last_of(await client.responses.create(**ASK, stream=True))).response.usage)
        use((await client.embeddings.create(model="text-embedding-3-small", input=["hello", "world"])).usage)
        use((await client.audio.transcriptions.create(model="gpt-4o-mini-transcribe", file=("a.wav", wave_file(1.5)))).usage)
        use((await client.images.generate(model="gpt-image-2", prompt="a cat")).usage)


ask({
    "chat": lambda: use(client.chat.completions.create(**CHAT).usage),
    "chat_stream": lambda: use(last(client.chat.completions.create(**CHAT, **SHOWN)).usage),
    "chat_hidden": chat_hidden,
    "chat_helper": chat_helper,
    "response": lambda: use(client.responses.create(**ASK).usage),
    "response_stream": lambda: use(last(client.responses.create(**ASK, stream=True)).response.usage),
    "embedding": lambda: use(client.embeddings.create(model="text-embedding-3-small", input="hello").usage),
    "decision": lambda: use(client.decisions.create(
        model="gpt-6-luna", input="x", questions=[{"type": "predicate", "question": "q?"}]).usage),
    "speech": speech,
    "speech_events": speech_events,
    "transcription": lambda: use(transcribe(model="gpt-4o-mini-transcribe").usage),
    "transcription_stream": lambda: use(last(transcribe(model="gpt-4o-mini-transcribe", stream=True)).usage),
    "whisper": whisper,
    "picture": lambda: use(picture().usage),
    "picture_stream": lambda: use(last(picture(stream=True, partial_images=1)).usage),
    "asynchronous": lambda: asyncio.run(asynchronous()),
}, lambda error: {"code": getattr(error, "code", None), "status": getattr(error, "status_code", None)})
