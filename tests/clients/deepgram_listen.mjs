// @deepgram/sdk: deepgram_listen.mjs BASE_URL USER, with the key in PROVIDER_KEY.

import { DeepgramClient } from '@deepgram/sdk'
import { failed, result, speak, tell } from './sound.mjs'

const [base, user] = process.argv.slice(2)
const socketBase = base.replace('http', 'ws')
const environment = { base, production: socketBase, agent: socketBase, agentRest: base }
const client = new DeepgramClient({ apiKey: process.env.PROVIDER_KEY, environment })
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
    if (code !== 1000) failed('close', code, reason)
    resolve()
  })
})
socket.on('error', () => {})
socket.on('message', (event) => {
  if (event.type === 'Results') result.answers += 1
  if (event.type === 'Metadata') result.stated_ms = event.duration * 1000
  if (event.type === 'Error') failed('Error', event.variant, event.description)
})
socket.connect()
await socket.waitForOpen()
await speak((sound) => socket.sendMedia(sound))
if (!result.error) socket.sendCloseStream({ type: 'CloseStream' })
await closed
tell()
