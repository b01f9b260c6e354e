// @azure/ai-voicelive: voicelive.mjs ENDPOINT KEY. It always speaks TLS, can set no header, and sends the key in two places; the
// key tells who speaks.

import { VoiceLiveClient } from '@azure/ai-voicelive'
import { AzureKeyCredential } from '@azure/core-auth'

const [endpoint, key] = process.argv.slice(2)
const turns = ['Zażółć gęślą jaźń, 你好', 'How warm is it?', 'And tomorrow?', 'Thank you.']
const result = { input_tokens: 0, output_tokens: 0, responses: 0, error: null, close_code: null, close_reason: null }
const session = new VoiceLiveClient(endpoint, new AzureKeyCredential(key)).createSession('gpt-realtime')

async function speak() {
  const content = [{ type: 'input_text', text: turns.shift() }]
  await session.addConversationItem({ type: 'message', role: 'user', content })
  await session.sendEvent({ type: 'response.create' })
}

const over = new Promise((resolve) => {
  session.subscribe({
    onResponseDone: async ({ response: { usage } }) => {
      result.input_tokens += usage.inputTokens
      result.output_tokens += usage.outputTokens
      result.responses += 1
      turns.length ? await speak() : resolve()
    },
    onServerError: async ({ error }) => {
      result.error = error.code
      setTimeout(resolve, 1000)
    },
    onDisconnected: async ({ code, reason }) => {
      Object.assign(result, { close_code: code, close_reason: reason })
      resolve()
    },
  })
})
await session.connect()
await speak()
await over
console.log(JSON.stringify(result))
process.exit()
