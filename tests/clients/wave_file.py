"""Silence as a file in the form WAVE."""

import io
import wave


def wave_file(seconds, rate=16_000):
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(bytes(int(seconds * rate) * 2))
    return file.getvalue()
