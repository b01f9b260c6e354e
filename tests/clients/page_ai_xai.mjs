// The AI SDK's realtime session at xAI: the key is all that it offers as a subprotocol.

import { createXai } from '@ai-sdk/xai'
import { conversation } from './page_ai.mjs'

export default conversation(createXai({ apiKey: 'unused' }).experimental_realtime('grok-voice-latest'))
