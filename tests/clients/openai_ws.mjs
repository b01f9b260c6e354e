// openai-node over the `ws` package: openai_ws.mjs BASE_URL USER, with the key in OPENAI_API_KEY. It always speaks
// TLS: BASE_URL is https, and NODE_EXTRA_CA_CERTS names a private authority.

import OpenAI from 'openai'
import { OpenAIRealtimeWS } from 'openai/realtime/ws'
import { Conversation, MODEL } from './conversation.mjs'

const [baseURL, user] = process.argv.slice(2)
const conversation = new Conversation()

const client = new OpenAI({ baseURL, defaultHeaders: { 'x-user-id': user } })
const realtime = new OpenAIRealtimeWS({ model: MODEL }, client)
realtime.on('event', (event) => {
  for (const reply of conversation.hear(event)) realtime.send(reply)
  if (conversation.over) realtime.close()
})
realtime.on('error', (error) => conversation.raised(error))
realtime.socket.on('close', (code, reason) => conversation.closed(code, String(reason)))
