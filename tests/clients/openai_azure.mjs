// openai-node at Azure: openai_azure.mjs ENDPOINT USER, with the key in AZURE_OPENAI_API_KEY. It always speaks TLS.

import { AzureOpenAI } from 'openai'
import { OpenAIRealtimeWS } from 'openai/realtime/ws'
import { Conversation, MODEL } from './conversation.mjs'

const [endpoint, user] = process.argv.slice(2)
const conversation = new Conversation()

const client = new AzureOpenAI({
  endpoint,
  apiVersion: '2025-04-01-preview',
  deployment: MODEL,
  defaultHeaders: { 'x-user-id': user },
})
const realtime = await OpenAIRealtimeWS.azure(client)
realtime.on('event', (event) => {
  for (const reply of conversation.hear(event)) realtime.send(reply)
  if (conversation.over) realtime.close()
})
realtime.on('error', (error) => conversation.raised(error))
realtime.socket.on('close', (code, reason) => conversation.closed(code, String(reason)))
