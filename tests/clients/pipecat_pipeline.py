"""What the programs with a pipeline of Pipecat's have in common: turn after turn, and what was heard of them is told."""

import asyncio
import json
import os

from loguru import logger
from pipecat.frames.frames import EndFrame, InputAudioRawFrame, LLMContextFrame, MetricsFrame, OutputAudioRawFrame
from pipecat.metrics.metrics import LLMUsageMetricsData
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.workers.runner import WorkerRunner

logger.remove()
result = {"input_tokens": 0, "output_tokens": 0, "responses": 0, "audio_bytes": 0, "errors": []}


def spoken():
    """200 ms of silence."""
    return InputAudioRawFrame(audio=bytes(9_600), sample_rate=24_000, num_channels=1)


class Listener(FrameProcessor):
    """Sums what is heard, and says the next turn when one is over."""

    def __init__(self, turns):
        super().__init__()
        self.turns = list(turns)

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, MetricsFrame):
            for data in frame.data:
                if isinstance(data, LLMUsageMetricsData):
                    result["input_tokens"] += data.value.prompt_tokens
                    result["output_tokens"] += data.value.completion_tokens
                    result["responses"] += 1
                    await self.go_on()
        elif isinstance(frame, OutputAudioRawFrame):
            result["audio_bytes"] += len(frame.audio)
        await self.push_frame(frame, direction)

    async def go_on(self):
        await say(self.turns.pop(0) if self.turns else EndFrame())


async def say(frame):
    await worker.queue_frames([frame])


async def converse(service, turns):
    global worker
    params = PipelineParams(enable_metrics=True, enable_usage_metrics=True)
    worker = PipelineWorker(Pipeline([service(), Listener(turns)]), params=params, idle_timeout_secs=5)

    @worker.event_handler("on_pipeline_error")
    async def on_error(_, frame):
        result["errors"].append({"type": type(frame.exception).__name__, "text": frame.error})
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    context = LLMContext(messages=[{"role": "user", "content": "Zażółć gęślą jaźń, 你好"}])
    await say(LLMContextFrame(context))
    await runner.run()


def run(service, turns):
    """`service` makes the realtime service, where there is a loop already; the first turn is written, frames follow it."""
    asyncio.run(converse(service, turns))
    print(json.dumps(result))
    # Its threads would keep the process.
    os._exit(0)
