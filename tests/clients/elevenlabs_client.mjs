// @elevenlabs/client, a conversation in writing: elevenlabs_client.mjs BASE_URL. The agent's socket has no headers, so
// BASE_URL holds the key that tells who speaks, or AUTHORIZATION is it and goes as a subprotocol.

import { Conversation } from '@elevenlabs/client'

const [baseUrl] = process.argv.slice(2)
const { AUTHORIZATION, PIECES = 4, PAUSE_SECONDS = 0.05 } = process.env
const result = { answers: 0, stated_ms: null, error: null }
const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000))

function failed(type, code, text) {
  result.error ??= { type, code: code ?? null, text }
}

try {
  const conversation = await Conversation.startSession({
    agentId: 'agent_1',
    textOnly: true,
    authorization: AUTHORIZATION,
    origin: baseUrl.replace('http', 'ws'),
    onMessage: ({ role }) => (result.answers += role === 'agent'),
    onDisconnect: ({ reason, closeCode, closeReason }) => reason === 'user' || failed(reason, closeCode, closeReason),
  })
  for (let i = 0; i < PIECES && conversation.isOpen(); i++) {
    conversation.sendUserMessage('How warm is it?')
    await pause(PAUSE_SECONDS)
  }
  await pause(0.2)
  await conversation.endSession()
} catch (error) {
  failed(error.constructor.name, error.closeCode, error.message)
}
console.log(JSON.stringify(result))
