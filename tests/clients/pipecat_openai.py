"""Pipecat's services for OpenAI Realtime, GPT-Live and what is like them: pipecat_openai.py BASE_URL SERVICE. The URL is all that
tells who speaks; SERVICE is realtime, live, azure, voice_live, xai or inworld. Voice Live always speaks TLS: SSL_CERT_FILE names a
private authority."""

import sys

from pipecat.services.azure.realtime.llm import AzureRealtimeLLMService
from pipecat.services.azure.voice_live.llm import AzureVoiceLiveLLMService
from pipecat.services.inworld.realtime.llm import InworldRealtimeLLMService
from pipecat.services.openai.live.llm import OpenAILiveLLMService
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.services.openai.responses.llm import OpenAIResponsesLLMService
from pipecat.services.xai.realtime.llm import GrokRealtimeLLMService

from pipecat_pipeline import run, say, spoken

base_url, name = sys.argv[1:]
base_url = base_url.replace("http", "ws", 1)


def live():
    delegate = OpenAILiveLLMService.ResponsesDelegation(settings=OpenAIResponsesLLMService.Settings(model="gpt-6-luna"))
    service = OpenAILiveLLMService(api_key="unused", base_url=f"{base_url}/v1/live/sessions", delegation=delegate)

    @service.event_handler("on_session_started")
    async def on_session_started(*_):
        # It answers what it hears, not what it has read.
        await say(spoken())

    return service


SERVICES = {
    "realtime": lambda: OpenAIRealtimeLLMService(api_key="unused", base_url=f"{base_url}/v1/realtime"),
    "live": live,
    "azure": lambda: AzureRealtimeLLMService(
        api_key="unused", base_url=f"{base_url}/openai/v1/realtime?model=gpt-realtime-2.1"
    ),
    "voice_live": lambda: AzureVoiceLiveLLMService(api_key="unused", endpoint=base_url),
    "xai": lambda: GrokRealtimeLLMService(api_key="unused", base_url=f"{base_url}/v1/realtime"),
    "inworld": lambda: InworldRealtimeLLMService(api_key="unused", base_url=f"{base_url}/api/v1/realtime/session"),
}
run(SERVICES[name], [spoken() for _ in range(3)])
