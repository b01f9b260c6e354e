// @anthropic-ai/sdk's requests: anthropic_http.mjs BASE_URL USER, with the key in ANTHROPIC_API_KEY.

import Anthropic from '@anthropic-ai/sdk'
import { TEXT, ask, last, pieces, used } from './asks.mjs'

const [baseURL, user] = process.argv.slice(2)
const client = new Anthropic({ baseURL, defaultHeaders: { 'x-user-id': user } })
const question = { model: 'claude-sonnet-4-6', max_tokens: 4000, messages: [{ role: 'user', content: TEXT }] }

// What is read from the cache is not part of the input here.
function use(usage) {
  used(usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens, usage.output_tokens)
}

await ask({
  message: async () => use((await client.messages.create(question)).usage),
  // The events as they come: each states all that there is by then.
  stream: async () => {
    let usage
    for await (const event of pieces(await client.messages.create({ ...question, stream: true }))) {
      if (event.type === 'message_delta') usage = event.usage
    }
    use(usage)
  },
  helper: async () => {
    const stream = client.messages.stream(question)
    await last(stream)
    use((await stream.finalMessage()).usage)
  },
  at_once: async () => {
    const answers = await Promise.all(Array.from({ length: 5 }, () => client.messages.create(question)))
    for (const { usage } of answers) use(usage)
  },
}, ({ type, error }) => ({ code: type ?? error?.error?.type ?? null }))
