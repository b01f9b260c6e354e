// openai-node over the runtime's own WebSocket, as in a browser: openai_native.mjs BASE_URL USER, with the key in
// OPENAI_API_KEY. No header can be set, so the key travels as a subprotocol and the user in the query, which
// `identity.query = true` allows. It always speaks TLS.

import OpenAI from 'openai'
import { OpenAIRealtimeWebSocket } from 'openai/realtime/websocket'
import { Conversation, MODEL } from './conversation.mjs'

const [baseURL, user] = process.argv.slice(2)
const conversation = new Conversation()

const client = new OpenAI({ baseURL: `${baseURL}?user_id=${encodeURIComponent(user)}` })
const realtime = new OpenAIRealtimeWebSocket({ model: MODEL }, client)
realtime.on('event', (event) => {
  for (const reply of conversation.hear(event)) realtime.send(reply)
  if (conversation.over) realtime.close()
})
realtime.on('error', () => {}) // An error event is an event, too.
realtime.socket.addEventListener('close', ({ code }) => conversation.closed(code))
