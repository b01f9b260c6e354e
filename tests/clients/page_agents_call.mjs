// @openai/agents-realtime in a browser, over WebRTC: it takes the microphone, and plays by an element of the page.

import { OpenAIRealtimeWebRTC, RealtimeAgent, RealtimeSession } from '@openai/agents-realtime'
import { Call } from './call.mjs'
import { MODEL } from './conversation.mjs'
import { listen } from './page_sound.mjs'

export default async (origin, key) => {
  const audioElement = new Audio()
  const baseUrl = `${origin.replace('ws', 'http')}/v1/realtime/calls`
  const transport = new OpenAIRealtimeWebRTC({ baseUrl, audioElement })
  const session = new RealtimeSession(new RealtimeAgent({ name: 'Assistant' }), { transport, model: MODEL })
  const call = new Call((event) => transport.sendEvent(event))
  session.on('transport_event', (event) => call.hear(event))
  audioElement.addEventListener('playing', () => listen(audioElement, call.ear), { once: true })
  await session.connect({ apiKey: key })
  // It says itself that it is disconnected once nothing has come for ten seconds.
  transport.connectionState.dataChannel.addEventListener('close', () => call.ended())
  await call.finish(() => session.close())
}
