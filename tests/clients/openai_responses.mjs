// openai-node's Responses over WebSocket: openai_responses.mjs BASE_URL USER, with the key in OPENAI_API_KEY. It goes by
// `ws:` where BASE_URL is http.

import OpenAI from 'openai'
import { ResponsesWS } from 'openai/resources/responses/ws'

const [baseURL, user] = process.argv.slice(2)
const client = new OpenAI({ baseURL, defaultHeaders: { 'x-user-id': user } })
const responses = new ResponsesWS(client)

const create = (more) => ({ type: 'response.create', model: 'gpt-6.1-sol', input: 'How warm is it?', ...more })
// One by itself, two side by side in lanes of their own, one that is slow enough to be steered.
const turns = [
  [create()],
  [create({ stream_id: 'a' }), create({ stream_id: 'b' })],
  [create({ metadata: { sim: 'chunks=20,pace=20' } })],
]
const result = { input_tokens: 0, output_tokens: 0, responses: 0, lanes: {}, steered: null, error: null, close_code: null }
let awaited = 0

function speak() {
  const turn = turns.shift() ?? []
  awaited = turn.length
  for (const event of turn) responses.send(event)
  if (!awaited) responses.close()
}

function steer({ response }) {
  if (turns.length || result.steered) return
  result.steered = response.id
  responses.send({ type: 'response.steer', previous_response_id: response.id, input: 'In Celsius, please.' })
  awaited += 1
}

function add({ response, stream_id: lane = '-' }) {
  result.input_tokens += response.usage.input_tokens
  result.output_tokens += response.usage.output_tokens
  result.responses += 1
  const status = response.incomplete_details?.reason ?? response.status
  ;(result.lanes[lane] ??= []).push(status)
  awaited -= 1
  if (!awaited) speak()
}

responses.on('response.created', steer)
responses.on('response.completed', add)
responses.on('response.incomplete', add)
// The event stands in its `error`.
responses.on('error', ({ message, error }) => {
  result.error ??= error?.error.code ?? message
  result.raised ??= { text: message, ...error?.error }
})
responses.on('close', (code, reason) => {
  if (awaited) Object.assign(result, { close_code: code, close_reason: reason })
  console.log(JSON.stringify(result))
})
speak()
