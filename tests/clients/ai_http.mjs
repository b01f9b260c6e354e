// The AI SDK's requests: ai_http.mjs BASE_URL USER, with the key in PROVIDER_KEY and in PROVIDER whose SDK speaks: `openai` (of
// which a model is asked by Responses), `chat`, `google` or `anthropic`.

import { createAnthropic } from '@ai-sdk/anthropic'
import { createGoogleGenerativeAI } from '@ai-sdk/google'
import { createOpenAI } from '@ai-sdk/openai'
import { embed, generateText, streamText } from 'ai'
import { TEXT, ask, pieces, used } from './asks.mjs'

const [baseURL, user] = process.argv.slice(2)
const settings = { baseURL, apiKey: process.env.PROVIDER_KEY, headers: { 'x-user-id': user } }
const openai = createOpenAI(settings)
const model = {
  openai: () => openai('gpt-5-mini'),
  chat: () => openai.chat('gpt-5-mini'),
  google: () => createGoogleGenerativeAI(settings)('gemini-3.8-flash'),
  anthropic: () => createAnthropic(settings)('claude-sonnet-4-6'),
}[process.env.PROVIDER]()
const use = (usage) => used(usage.inputTokens, usage.outputTokens)

await ask({
  generate: async () => use((await generateText({ model, prompt: TEXT })).usage),
  stream: async () => {
    const failed = []
    const { textStream, usage } = streamText({ model, prompt: TEXT, onError: ({ error }) => failed.push(error) })
    // It ends without an exception, whatever has happened; what has, `onError` alone is told.
    for await (const text of pieces(textStream));
    if (failed.length > 0) throw failed[0]
    use(await usage)
  },
  ...(process.env.PROVIDER === 'openai' && {
    embedding: async () => {
      const { usage } = await embed({ model: openai.embedding('text-embedding-3-small'), value: 'hello' })
      used(usage.tokens, 0)
    },
  }),
})
