// openai-node asks for a page's token and opens a session with it: openai_token.mjs BASE_URL USER, with the key in
// OPENAI_API_KEY. It always speaks TLS.

import OpenAI from 'openai'
import { OpenAIRealtimeWS } from 'openai/realtime/ws'
import { Conversation, MODEL } from './conversation.mjs'

const [baseURL, user] = process.argv.slice(2)
const conversation = new Conversation()

const server = new OpenAI({ baseURL, defaultHeaders: { 'x-user-id': user } })
const secret = await server.realtime.clientSecrets.create({ session: { type: 'realtime', model: MODEL } })
const page = new OpenAI({ baseURL, apiKey: secret.value })
const realtime = new OpenAIRealtimeWS({ model: secret.session.model }, page)
realtime.on('event', (event) => {
  for (const reply of conversation.hear(event)) realtime.send(reply)
  if (conversation.over) realtime.close()
})
realtime.on('error', (error) => conversation.raised(error))
realtime.socket.on('close', (code, reason) => conversation.closed(code, String(reason)))
