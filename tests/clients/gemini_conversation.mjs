// What @google/genai says in Node and in a browser, and what it makes of what it hears.

import { silence } from './conversation.mjs'

const sound = (bytes) => ({ data: silence(bytes), mimeType: 'audio/pcm;rate=16000' })
const config = {
  responseModalities: ['AUDIO'],
  outputAudioTranscription: {},
  tools: [{ functionDeclarations: [{ name: 'thermometer' }] }],
}

// Prints what was heard, once the session is over.
export async function converse(ai) {
  const write = (text) => session.sendClientContent({ turns: text, turnComplete: true })
  const speak = (bytes, count) => {
    for (let i = 0; i < count; i++) session.sendRealtimeInput({ audio: sound(bytes) })
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
    result.audio_bytes += message.data ? atob(message.data).length : 0
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

  let session
  try {
    await new Promise((resolve, reject) => {
      const connected = ai.live.connect({
        model: 'gemini-3.8-live',
        config,
        callbacks: {
          onmessage: hear,
          onerror: () => {},
          // What `connect` rejects with says why it was closed before its session began.
          onclose: ({ code, reason }) => {
            if (!over) result.error = { type: 'close', code, text: reason }
            if (session) resolve()
          },
        },
      })
      connected.then((opened) => {
        session = opened
        turns.shift()()
      }, reject)
    })
  } catch (error) {
    result.error = { type: error.constructor.name, code: result.error?.code ?? null, text: error.message }
  }
  console.log(JSON.stringify(result))
}
