// @google/genai: gemini.mjs BASE_URL USER, with the key in GOOGLE_API_KEY. It goes by `ws:` where BASE_URL is http.

import { GoogleGenAI } from '@google/genai'

const [baseUrl, user] = process.argv.slice(2)
const ai = new GoogleGenAI({
  apiKey: process.env.GOOGLE_API_KEY,
  httpOptions: { baseUrl, headers: { 'x-user-id': user } },
})
const silence = (bytes) => ({ data: Buffer.alloc(bytes).toString('base64'), mimeType: 'audio/pcm;rate=16000' })
const write = (text) => session.sendClientContent({ turns: text, turnComplete: true })
const speak = (bytes, count) => {
  for (let i = 0; i < count; i++) session.sendRealtimeInput({ audio: silence(bytes) })
  session.sendRealtimeInput({ audioStreamEnd: true })
}
// A written turn, a spoken one, one with a tool's answer, a long spoken one.
const turns = [
  () => write('Zażółć gęślą jaźń, 你好'),
  () => speak(3200, 5),
  () => write('How warm is it? (sim tool)'),
  () => speak(160_000, 1),
]
const result = { input_tokens: 0, output_tokens: 0, responses: 0, audio_bytes: 0, error: null }
let over = false

function hear(message) {
  result.audio_bytes += message.data ? Buffer.from(message.data, 'base64').length : 0
  for (const { id, name } of message.toolCall?.functionCalls ?? [])
    session.sendToolResponse({ functionResponses: [{ id, name, response: { celsius: 21 } }] })
  const usage = message.usageMetadata
  if (usage) {
    result.input_tokens += (usage.promptTokenCount ?? 0) + (usage.toolUsePromptTokenCount ?? 0)
    result.output_tokens += (usage.responseTokenCount ?? 0) + (usage.thoughtsTokenCount ?? 0)
    result.responses += 1
  }
  if (!message.serverContent?.turnComplete) return
  const next = turns.shift()
  over = !next
  next ? next() : session.close()
}

const told = (result) => console.log(JSON.stringify(result))
let session
try {
  session = await ai.live.connect({
    model: 'gemini-3.8-live',
    config: {
      responseModalities: ['AUDIO'],
      outputAudioTranscription: {},
      tools: [{ functionDeclarations: [{ name: 'thermometer' }] }],
    },
    callbacks: {
      onmessage: hear,
      onerror: () => {},
      // What `connect` rejects with says why it was closed before its session began.
      onclose: ({ code, reason }) => {
        if (!over) result.error = { type: 'close', code, text: reason }
        if (session) told(result)
      },
    },
  })
  turns.shift()()
} catch (error) {
  told({ ...result, error: { type: error.constructor.name, code: result.error?.code ?? null, text: error.message } })
}
