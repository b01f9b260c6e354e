// @google/genai's requests: gemini_http.mjs BASE_URL USER, with the key in GOOGLE_API_KEY.

import { GoogleGenAI } from '@google/genai'
import { TEXT, ask, last, used } from './asks.mjs'

const [baseUrl, user] = process.argv.slice(2)
const ai = new GoogleGenAI({ apiKey: process.env.GOOGLE_API_KEY, httpOptions: { baseUrl, headers: { 'x-user-id': user } } })
const question = { model: 'gemini-3.8-flash', contents: TEXT }

function use({ usageMetadata: usage }) {
  used(usage.promptTokenCount, (usage.candidatesTokenCount ?? 0) + (usage.thoughtsTokenCount ?? 0))
}

await ask({
  generate: async () => use(await ai.models.generateContent(question)),
  stream: async () => use(await last(await ai.models.generateContentStream(question))),
  at_once: async () => (await Promise.all(Array.from({ length: 5 }, () => ai.models.generateContent(question)))).forEach(use),
})
