// openai-node's GPT-Live: openai_live.mjs BASE_URL USER, with the key in OPENAI_API_KEY. It goes by `ws:` where BASE_URL
// is http.

import OpenAI from 'openai'
import { LiveWS } from 'openai/resources/live/ws'
import { silence } from './conversation.mjs'

const [baseURL, user] = process.argv.slice(2)
const client = new OpenAI({ baseURL, defaultHeaders: { 'x-user-id': user } })
const live = new LiveWS(client)

const TURNS = 4
const result = { input_tokens: 0, output_tokens: 0, responses: 0, seconds: 0, error: null, close_code: null }
let turns = 0
let over = false

// A second of sound, and what has to be thought about it.
function speak() {
  turns += 1
  if (turns > TURNS) return live.send({ type: 'session.close' })
  for (let i = 0; i < 10; i++) live.send({ type: 'session.input_audio.append', audio: silence(4800) })
  live.send({ type: 'response.create' })
}

live.on('session.started', speak)
live.on('response.event', ({ event }) => {
  if (event.type !== 'response.completed') return
  result.input_tokens += event.response.usage.input_tokens
  result.output_tokens += event.response.usage.output_tokens
  result.responses += 1
})
live.on('session.usage.updated', ({ usage }) => {
  result.seconds = usage.seconds
  speak()
})
live.on('session.closed', ({ usage }) => {
  result.seconds = usage.seconds
  over = true
})
live.on('error', ({ message, error }) => {
  result.error ??= error?.error.code ?? message
  result.raised ??= { text: message, ...error?.error }
})
live.on('close', (code, reason) => {
  if (!over) Object.assign(result, { close_code: code, close_reason: reason })
  console.log(JSON.stringify(result))
})
live.send({ type: 'session.start', session: { model: 'gpt-live-1.1' } })
