// @google/genai: gemini.mjs BASE_URL USER, with the key in GOOGLE_API_KEY. It goes by `ws:` where BASE_URL is http.

import { GoogleGenAI } from '@google/genai'
import { converse } from './gemini_conversation.mjs'

const [baseUrl, user] = process.argv.slice(2)
const httpOptions = { baseUrl, headers: { 'x-user-id': user } }
await converse(new GoogleGenAI({ apiKey: process.env.GOOGLE_API_KEY, httpOptions }))
