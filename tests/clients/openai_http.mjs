// openai-node's requests: openai_http.mjs BASE_URL USER, with the key in OPENAI_API_KEY.

import OpenAI, { toFile } from 'openai'
import { TEXT, ask, last, pieces, used, usedUnknown } from './asks.mjs'
import { waveFile } from './wave_file.mjs'

const [baseURL, user] = process.argv.slice(2)
const client = new OpenAI({ baseURL, defaultHeaders: { 'x-user-id': user } })
const chat = { model: 'gpt-5-mini', messages: [{ role: 'user', content: TEXT }] }
const question = { model: 'gpt-5-mini', input: 'hello' }
const shown = { ...chat, stream: true, stream_options: { include_usage: true } }
const say = { voice: 'alloy', input: 'Zażółć gęślą jaźń.' }
const sound = () => toFile(waveFile(1.5), 'a.wav')

// Of one API they are called prompt and completion, of another input and output.
function use(usage) {
  used(usage.input_tokens ?? usage.prompt_tokens, usage.output_tokens ?? usage.completion_tokens)
}

await ask({
  chat: async () => use((await client.chat.completions.create(chat)).usage),
  chat_stream: async () => use((await last(await client.chat.completions.create(shown))).usage),
  // Nothing may show of the usage that this one did not ask for.
  chat_hidden: async () => {
    for await (const chunk of pieces(await client.chat.completions.create({ ...chat, model: 'gpt-5-nano', stream: true }))) {
      if (chunk.choices.length === 0 || 'usage' in chunk) throw new Error(JSON.stringify(chunk))
    }
    usedUnknown()
  },
  chat_helper: async () => {
    const stream = client.chat.completions.stream(shown)
    await last(stream)
    use(await stream.totalUsage())
  },
  response: async () => use((await client.responses.create(question)).usage),
  response_stream: async () => use((await last(await client.responses.create({ ...question, stream: true }))).response.usage),
  embedding: async () => use((await client.embeddings.create({ model: 'text-embedding-3-small', input: 'hello' })).usage),
  decision: async () => {
    const questions = [{ type: 'predicate', question: 'q?' }]
    use((await client.decisions.create({ model: 'gpt-6-luna', input: 'x', questions })).usage)
  },
  speech: async () => {
    const answer = await client.audio.speech.create({ model: 'tts-1', ...say })
    if ((await answer.arrayBuffer()).byteLength === 0) throw new Error('no sound')
    usedUnknown()
  },
  transcription: async () => {
    use((await client.audio.transcriptions.create({ model: 'gpt-4o-mini-transcribe', file: await sound() })).usage)
  },
  transcription_stream: async () => {
    const stream = { model: 'gpt-4o-mini-transcribe', file: await sound(), stream: true }
    use((await last(await client.audio.transcriptions.create(stream))).usage)
  },
  picture: async () => use((await client.images.generate({ model: 'gpt-image-2', prompt: 'a cat' })).usage),
  picture_stream: async () => {
    const stream = { model: 'gpt-image-2', prompt: 'a cat', stream: true, partial_images: 1 }
    use((await last(await client.images.generate(stream))).usage)
  },
  at_once: async () => {
    for (const answer of await Promise.all(Array.from({ length: 10 }, () => client.chat.completions.create(chat)))) {
      use(answer.usage)
    }
  },
})
