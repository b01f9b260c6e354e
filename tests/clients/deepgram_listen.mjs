// @deepgram/sdk: deepgram_listen.mjs BASE_URL USER, with the key in PROVIDER_KEY.

import { DeepgramClient } from '@deepgram/sdk'

const [base, user] = process.argv.slice(2)
const { PROVIDER_KEY: apiKey, PIECES = 4, PAUSE_SECONDS = 0.05 } = process.env
const result = { answers: 0, stated_ms: null, error: null }
const socketBase = base.replace('http', 'ws')
const environment = { base, production: socketBase, agent: socketBase, agentRest: base }
const client = new DeepgramClient({ apiKey, environment })
const socket = await client.listen.v1.connect({
  model: 'nova-3',
  encoding: 'linear16',
  sample_rate: 16_000,
  headers: { 'x-user-id': user },
  // It dials again else, whatever the code of the close says.
  shouldReconnect: ({ code }) => code < 4000,
})
const closed = new Promise((resolve) => {
  socket.on('close', ({ code, reason }) => {
    if (code !== 1000) result.error = { ...result.error, code, text: reason }
    resolve()
  })
})
socket.on('error', () => {})
socket.on('message', (event) => {
  if (event.type === 'Results') result.answers += 1
  if (event.type === 'Metadata') result.stated_ms = event.duration * 1000
  if (event.type === 'Error') result.error = { type: event.variant, ...result.error }
})
socket.connect()
await socket.waitForOpen()
for (let i = 0; i < PIECES && !result.error; i++) {
  socket.sendMedia(new Uint8Array(16_000))
  await new Promise((resolve) => setTimeout(resolve, PAUSE_SECONDS * 1000))
}
if (!result.error) socket.sendCloseStream({ type: 'CloseStream' })
await closed
console.log(JSON.stringify(result))
process.exit()
