"""Pipecat's Gemini Live service: pipecat_gemini.py BASE_URL, which is all that tells who speaks, with the key in
GOOGLE_API_KEY. It always speaks TLS: SSL_CERT_FILE names a private authority."""

import asyncio
import json
import os
import sys

from google.genai.types import HttpOptions
from loguru import logger
from pipecat.frames.frames import EndFrame, InputTextRawFrame, LLMContextFrame, MetricsFrame, TTSAudioRawFrame
from pipecat.frames.frames import LLMFullResponseEndFrame
from pipecat.metrics.metrics import LLMUsageMetricsData
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.google.gemini_live.llm import GeminiLiveLLMService
from pipecat.workers.runner import WorkerRunner

logger.remove()
result = {"input_tokens": 0, "output_tokens": 0, "responses": 0, "audio_bytes": 0, "errors": []}
TURNS = ["And now?", "Still there?", "Good night."]


class Listener(FrameProcessor):
    """Sums what is heard, and says the next turn when one is over."""

    def __init__(self):
        super().__init__()
        self.turns = list(TURNS)

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, MetricsFrame):
            for data in frame.data:
                if isinstance(data, LLMUsageMetricsData):
                    result["input_tokens"] += data.value.prompt_tokens
                    result["output_tokens"] += data.value.completion_tokens
                    result["responses"] += 1
                    await self.go_on()
        elif isinstance(frame, TTSAudioRawFrame):
            result["audio_bytes"] += len(frame.audio)
        await self.push_frame(frame, direction)

    async def go_on(self):
        if self.turns:
            await worker.queue_frames([InputTextRawFrame(text=self.turns.pop(0))])
        else:
            await worker.queue_frames([EndFrame()])


async def main():
    global worker
    options = HttpOptions(base_url=sys.argv[1])
    service = GeminiLiveLLMService(api_key=os.environ["GOOGLE_API_KEY"], http_options=options)
    params = PipelineParams(enable_metrics=True, enable_usage_metrics=True)
    worker = PipelineWorker(Pipeline([service, Listener()]), params=params, idle_timeout_secs=5)

    @worker.event_handler("on_pipeline_error")
    async def on_error(_, frame):
        result["errors"].append({"type": type(frame.exception).__name__, "text": frame.error})
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    context = LLMContext(messages=[{"role": "user", "content": "Zażółć gęślą jaźń, 你好"}])
    await worker.queue_frames([LLMContextFrame(context)])
    await runner.run()


asyncio.run(main())
print(json.dumps(result))
os._exit(0)
