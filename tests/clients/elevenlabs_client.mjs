// @elevenlabs/client, a conversation in writing: elevenlabs_client.mjs BASE_URL. The agent's socket has no headers, so
// BASE_URL holds the key that tells who speaks, or AUTHORIZATION is it and goes as a subprotocol.

import { Conversation } from '@elevenlabs/client'
import { failed, pause, result, speak, tell } from './sound.mjs'

const [baseUrl] = process.argv.slice(2)
try {
  const conversation = await Conversation.startSession({
    agentId: 'agent_1',
    textOnly: true,
    authorization: process.env.AUTHORIZATION,
    origin: baseUrl.replace('http', 'ws'),
    onMessage: ({ role }) => (result.answers += role === 'agent'),
    onDisconnect: ({ reason, closeCode, closeReason }) => reason === 'user' || failed(reason, closeCode, closeReason),
  })
  await speak(() => conversation.sendUserMessage('How warm is it?'))
  await pause(0.2)
  await conversation.endSession()
} catch (error) {
  failed(error.constructor.name, error.closeCode, error.message)
}
tell()
