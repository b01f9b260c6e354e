"""azure-ai-voicelive: voicelive_async.py BASE_URL USER, with the key in PROVIDER_KEY."""

import asyncio
import os
import sys
from contextlib import suppress

from azure.ai.voicelive.aio import ConnectionError, connect
from azure.ai.voicelive.models import AudioInputTranscriptionOptions, Modality, RequestSession, ServerEventType
from azure.core.credentials import AzureKeyCredential

from conversation import SPEECH
from heard import Heard

base_url, user = sys.argv[1:]
TURNS = 4
SESSION = RequestSession(
    modalities=[Modality.TEXT, Modality.AUDIO],
    input_audio_transcription=AudioInputTranscriptionOptions(model="azure-speech"),
    turn_detection=None,
)
heard = Heard()


async def speak(connection):
    # Who is hung up on while speaking reads on, to learn why.
    with suppress(ConnectionError):
        for _ in range(5):
            await connection.input_audio_buffer.append(audio=SPEECH)
        await connection.input_audio_buffer.commit()
        await connection.response.create()


async def main():
    credential = AzureKeyCredential(os.environ["PROVIDER_KEY"])
    dial = connect(endpoint=base_url, credential=credential, model="gpt-realtime", headers={"x-user-id": user})
    async with dial as connection:
        async for event in connection:
            if event.type == ServerEventType.SESSION_CREATED:
                await connection.session.update(session=SESSION)
                await speak(connection)
            elif event.type == ServerEventType.RESPONSE_DONE:
                heard.add(event.response.usage)
                heard.result["responses"] += 1
                if heard.result["responses"] == TURNS:
                    break
                await speak(connection)
            elif event.type == ServerEventType.ERROR:
                heard.result["error"] = event.error.code


asyncio.run(main())
heard.tell()
