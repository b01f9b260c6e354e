// assemblyai in a browser, which always speaks TLS: the key goes in the query, and tells who speaks.

import { StreamingTranscriber } from 'assemblyai'

export default async (origin, key) => {
  const result = { answers: 0, error: null, close_code: null, close_reason: null }
  const transcriber = new StreamingTranscriber({
    token: key,
    sampleRate: 16_000,
    speechModel: 'u3-rt-pro',
    websocketBaseUrl: `${origin}/v3/ws`,
  })
  const closed = new Promise((resolve) => {
    transcriber.on('close', (code, reason) => {
      Object.assign(result, { close_code: code, close_reason: reason })
      resolve()
    })
  })
  transcriber.on('turn', () => (result.answers += 1))
  transcriber.on('error', ({ message, code }) => (result.error ??= { text: message, code }))
  try {
    await transcriber.connect()
    for (let i = 0; i < 12 && !result.error; i++) {
      transcriber.sendAudio(new ArrayBuffer(16_000))
      await new Promise((resolve) => setTimeout(resolve, 250))
    }
    await transcriber.close()
  } catch (error) {
    result.error ??= { text: error.message, code: error.code ?? null }
  }
  await closed
  console.log(JSON.stringify(result))
}
