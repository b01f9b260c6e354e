// @mistralai/mistralai: mistral_rt.mjs BASE_URL USER, with the key in PROVIDER_KEY.

import { RealtimeTranscription } from '@mistralai/mistralai/extra/realtime'
import { failed, result, speak, tell } from './sound.mjs'

const [serverURL, user] = process.argv.slice(2)
const realtime = new RealtimeTranscription({ apiKey: process.env.PROVIDER_KEY, serverURL })
try {
  const connection = await realtime.connect('voxtral-mini-transcribe-realtime-2602', {
    audioFormat: { encoding: 'pcm_s16le', sampleRate: 16_000 },
    httpHeaders: { 'x-user-id': user },
  })
  const speaking = speak((sound) => connection.sendAudio(sound))
    .then(() => connection.flushAudio())
    .then(() => connection.endAudio())
    .catch((error) => error) // Who is hung up on while speaking hears why below.
  for await (const event of connection) {
    if (event.type === 'transcription.text.delta') result.answers += 1
    if (event.type === 'transcription.done') result.stated_ms = event.usage.promptAudioSeconds * 1000
    if (event.type === 'error') failed(event.type, event.error.code, event.error.message)
    if (['transcription.done', 'error'].includes(event.type)) break
  }
  await speaking
} catch (error) {
  failed(error.constructor.name, error.code, error.message)
}
tell()
