// @openai/agents-realtime over WebSocket: agents_session.mjs BASE_URL USER, with the key in OPENAI_API_KEY.

import { OpenAIRealtimeWebSocket, RealtimeAgent, RealtimeSession } from '@openai/agents-realtime'
import WebSocket from 'ws'
import { Conversation, MODEL } from './conversation.mjs'

const [baseURL, user] = process.argv.slice(2)
const conversation = new Conversation()

const transport = new OpenAIRealtimeWebSocket({
  url: `${baseURL.replace('http', 'ws')}/realtime?model=${MODEL}`,
  createWebSocket: async ({ url, apiKey }) => {
    const socket = new WebSocket(url, { headers: { Authorization: `Bearer ${apiKey}`, 'x-user-id': user } })
    socket.on('close', (code) => conversation.closed(code))
    return socket
  },
})
const session = new RealtimeSession(new RealtimeAgent({ name: 'Assistant' }), { transport })
session.on('transport_event', (event) => {
  for (const reply of conversation.hear(event)) transport.sendEvent(reply)
  if (conversation.over) session.close()
})
session.on('error', () => {}) // An error event is a transport event, too.
await session.connect({ apiKey: process.env.OPENAI_API_KEY })
