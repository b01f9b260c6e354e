// @openai/agents-realtime with its own WebSocket, which sends the key alone: agents_query.mjs BASE_URL USER, with the
// key in OPENAI_API_KEY. The user is named in the query, which `identity.query = true` allows.

import { RealtimeAgent, RealtimeSession } from '@openai/agents-realtime'
import { Conversation, MODEL } from './conversation.mjs'

const [baseURL, user] = process.argv.slice(2)
const conversation = new Conversation()

const url = `${baseURL.replace('http', 'ws')}/realtime?model=${MODEL}&user_id=${encodeURIComponent(user)}`
const session = new RealtimeSession(new RealtimeAgent({ name: 'Assistant' }), { transport: 'websocket' })
session.on('transport_event', (event) => {
  for (const reply of conversation.hear(event)) session.transport.sendEvent(reply)
  if (conversation.over) session.close()
})
session.on('error', () => {}) // An error event is a transport event, too.
session.transport.on('connection_change', (status) => {
  if (status === 'disconnected') conversation.closed(null) // It does not tell the code.
})
await session.connect({ apiKey: process.env.OPENAI_API_KEY, url })
