// @speechmatics/real-time-client: speechmatics_rt.mjs BASE_URL, with the key in PROVIDER_KEY, which tells who speaks: it can set no
// header, and sends what it is given in the query.

import { RealtimeClient } from '@speechmatics/real-time-client'
import { failed, result, speak, tell } from './sound.mjs'

const [baseUrl] = process.argv.slice(2)
const client = new RealtimeClient({ url: `${baseUrl.replace('http', 'ws')}/v2` })
client.addEventListener('receiveMessage', ({ data }) => {
  if (data.message === 'AddTranscript') result.answers += 1
  if (data.message === 'Error') failed(data.type, data.code, data.reason)
})
try {
  await client.start(process.env.PROVIDER_KEY, {
    transcription_config: { language: 'en', model: 'enhanced' },
    audio_format: { type: 'raw', encoding: 'pcm_s16le', sample_rate: 16_000 },
  })
  await speak((sound) => client.sendAudio(sound))
  if (!result.error) await client.stopRecognition()
} catch (error) {
  failed(error.constructor.name, null, error.message)
}
tell()
