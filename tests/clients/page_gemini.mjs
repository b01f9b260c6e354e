// @google/genai in a browser: the key goes in the query, and tells who speaks.

import { GoogleGenAI } from '@google/genai'
import { converse } from './gemini_conversation.mjs'

export default (origin, key) =>
  converse(new GoogleGenAI({ apiKey: key, httpOptions: { baseUrl: origin.replace('ws', 'http') } }))
