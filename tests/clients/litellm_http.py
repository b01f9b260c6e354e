"""litellm's requests, blocking and not: litellm_http.py BASE_URL USER, with the key in PROVIDER_KEY and in MODEL what is asked,
by litellm's name for it, such as `anthropic/claude-sonnet-4-6`."""

import asyncio
import os
import sys

from asks import MESSAGES, ask, last, last_of, used

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm  # noqa: E402, for it reads that when it is imported

base_url, user = sys.argv[1:]
ASK = {
    "model": os.environ["MODEL"],
    "messages": MESSAGES,
    "api_base": base_url,
    "api_key": os.environ["PROVIDER_KEY"],
    "extra_headers": {"x-user-id": user},
}
STREAM = {"stream": True, "stream_options": {"include_usage": True}}


def use(answer):
    used(answer.usage.prompt_tokens, answer.usage.completion_tokens)


async def asynchronous():
    for answer in await asyncio.gather(*[litellm.acompletion(**ASK) for _ in range(5)]):
        use(answer)
    use(await last_of(await litellm.acompletion(**ASK, **STREAM)))


ask({
    "completion": lambda: use(litellm.completion(**ASK)),
    "stream": lambda: use(last(litellm.completion(**ASK, **STREAM))),
    "asynchronous": lambda: asyncio.run(asynchronous()),
}, lambda error: {"code": getattr(error, "code", None), "status": getattr(error, "status_code", None)})
