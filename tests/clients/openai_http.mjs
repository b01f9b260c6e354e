// openai-node's requests: openai_http.mjs BASE_URL USER, with the key in OPENAI_API_KEY.

import OpenAI from 'openai'

const [baseURL, user] = process.argv.slice(2)
const client = new OpenAI({ baseURL, defaultHeaders: { 'x-user-id': user }, maxRetries: 0 })
const chat = { model: 'gpt-5-mini', messages: [{ role: 'user', content: 'Zażółć gęślą jaźń, 你好' }] }
const ask = { model: 'gpt-5-mini', input: 'hello' }
const heard = { requests: 0, input_tokens: 0, output_tokens: 0, untold: 0, error: null, status: null }

function tell(usage) {
  heard.requests += 1
  if (!usage) {
    heard.untold += 1
    return
  }
  heard.input_tokens += usage.prompt_tokens ?? usage.input_tokens ?? 0
  heard.output_tokens += usage.completion_tokens ?? usage.output_tokens ?? 0
}

async function last(events) {
  let event
  for await (event of events);
  return event
}

try {
  tell((await client.chat.completions.create(chat)).usage)
  const shown = { ...chat, stream: true, stream_options: { include_usage: true } }
  tell((await last(await client.chat.completions.create(shown))).usage)
  // Nothing may show of the usage that this one did not ask for.
  for await (const chunk of await client.chat.completions.create({ ...chat, stream: true })) {
    if (chunk.choices.length === 0 || 'usage' in chunk) throw new Error(JSON.stringify(chunk))
  }
  tell(null)
  tell((await client.responses.create(ask)).usage)
  tell((await last(await client.responses.create({ ...ask, stream: true }))).response.usage)
  tell((await client.embeddings.create({ model: 'text-embedding-3-small', input: 'hello' })).usage)
  for (const answer of await Promise.all(Array.from({ length: 10 }, () => client.chat.completions.create(chat)))) {
    tell(answer.usage)
  }
} catch (error) {
  heard.error = error.code ?? String(error)
  heard.status = error.status ?? null
}
console.log(JSON.stringify(heard))
