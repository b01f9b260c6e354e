// @elevenlabs/client in a browser, a conversation in speech: the key goes as a subprotocol, and tells who speaks.

import { Conversation } from '@elevenlabs/client'

const ANSWERS = 40

export default (origin, key) =>
  new Promise((resolve) => {
    const result = { answers: 0, error: null }
    let conversation
    function tell() {
      console.log(JSON.stringify(result))
      resolve()
    }
    const session = Conversation.startSession({
      agentId: 'agent_1',
      connectionType: 'websocket',
      origin,
      authorization: key,
      onConversationCreated: (created) => (conversation = created),
      onMessage: () => {
        result.answers += 1
        if (result.answers === ANSWERS) conversation.endSession()
      },
      onDisconnect: ({ reason, closeCode, closeReason }) => {
        if (reason !== 'user') result.error = { type: reason, code: closeCode, text: closeReason }
        tell()
      },
    })
    session.catch(({ constructor, closeCode, message }) => {
      result.error ??= { type: constructor.name, code: closeCode ?? null, text: message }
      tell()
    })
  })
