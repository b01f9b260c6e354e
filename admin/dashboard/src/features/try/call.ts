// A voice call through tokenist as any page makes one: the address of the calls is all that differs from the provider's.

export interface Wish {
  /** Where the proxy listens, such as http://127.0.0.1:8080. */
  address: string
  /** A tokenist key, or a page's token. */
  key: string
  /** For whom, where the key does not say it. */
  user: string
  model: string
}

export type News =
  | { kind: 'connected' }
  | { kind: 'heard'; who: 'you' | 'model'; id: string; text: string }
  /** `isHungUp`: by whoever called. */
  | { kind: 'over'; why: string | null; isHungUp: boolean }

export interface Call {
  say: (text: string) => void
  hangUp: () => void
}

export interface ProviderEvent {
  type: string
  item_id?: string
  response_id?: string
  delta?: string
  transcript?: string
  error?: { message?: string; code?: string | null; event_id?: string | null }
}

/** Whether this page may be given a microphone. */
export const mayListen = () => window.isSecureContext && navigator.mediaDevices !== undefined

/**
 * Begins a call, and tells what comes of it until it is over; why that is, if somebody said so. Without a microphone it listens
 * alone.
 *
 * @throws Error in words for whoever asked: it could not be begun.
 */
export async function begin(
  wish: Wish,
  speaker: HTMLAudioElement,
  tell: (news: News) => void,
): Promise<Call> {
  const microphone = mayListen() ? await navigator.mediaDevices.getUserMedia({ audio: true }) : null
  const peer = new RTCPeerConnection()
  let last: string | null = null
  let isOver = false
  const leave = () => {
    isOver = true
    for (const track of microphone?.getTracks() ?? []) track.stop()
    peer.close()
  }
  const end = (isHungUp: boolean) => {
    if (isOver) return
    leave()
    tell({ kind: 'over', why: last, isHungUp })
  }
  const [track] = microphone?.getTracks() ?? []
  peer.addTransceiver(track ?? 'audio', { direction: track ? 'sendrecv' : 'recvonly' })
  peer.ontrack = ({ track }) => {
    speaker.srcObject = new MediaStream([track])
  }
  const events = peer.createDataChannel('oai-events')
  events.onopen = () => tell({ kind: 'connected' })
  events.onclose = () => end(false)
  events.onmessage = ({ data }) => {
    const event: ProviderEvent = JSON.parse(data)
    last = endIn(event)
    const heard = heardIn(event)
    if (heard) tell(heard)
  }
  peer.onconnectionstatechange = () => {
    if (peer.connectionState === 'failed') {
      last ??= 'The connection was lost: sound and events have not got through.'
      end(false)
    }
  }
  try {
    await peer.setLocalDescription()
    const sdp = await offer(wish, peer.localDescription?.sdp ?? '')
    await peer.setRemoteDescription({ type: 'answer', sdp })
  } catch (error) {
    leave()
    throw error
  }
  const say = (text: string) => {
    for (const event of said(text)) events.send(JSON.stringify(event))
  }
  return { say, hangUp: () => end(true) }
}

/** Asks for the call: the answer's SDP. */
async function offer({ address, key, user, model }: Wish, sdp: string): Promise<string> {
  const headers: Record<string, string> = {
    'content-type': 'application/sdp',
    authorization: `Bearer ${key}`,
  }
  if (user) headers['x-user-id'] = user
  const url = `${address}/v1/realtime/calls?model=${encodeURIComponent(model)}`
  const answer = await fetch(url, { method: 'POST', headers, body: sdp }).catch(() => {
    throw new Error(
      `Nothing was heard from ${address}. It has to be where proxy.listen or proxy.tls_listen is, and ${location.origin} among browser.origins.`,
    )
  })
  const body = await answer.text()
  if (answer.ok) return body
  throw new Error(messageIn(body) ?? `${address} answers with ${answer.status}.`)
}

function messageIn(body: string): string | null {
  try {
    return JSON.parse(body).error?.message ?? null
  } catch {
    return null
  }
}

let saidCount = 0

/** Named, so that an error which answers one of them can be told from others. */
export function said(text: string) {
  const content = [{ type: 'input_text', text }]
  return [
    { type: 'conversation.item.create', item: { type: 'message', role: 'user', content } },
    { type: 'response.create' },
  ].map((event) => ({ ...event, event_id: `try_${++saidCount}` }))
}

/** Told of an event that came too late or too early, be it tokenist's, which asks for a stop before it hangs up. */
const ENDS_NOTHING = ['conversation_already_has_active_response', 'response_cancel_not_active']

/** Why the call is over if nothing is heard after this. What is wrong with an event ends nothing. */
export function endIn({ type, error }: ProviderEvent): string | null {
  if (type !== 'error' || error?.event_id || ENDS_NOTHING.includes(error?.code ?? '')) return null
  return error?.message ?? null
}

function heardIn(event: ProviderEvent): News | null {
  switch (event.type) {
    case 'response.output_audio_transcript.delta':
    case 'response.output_text.delta':
      return { kind: 'heard', who: 'model', id: event.response_id ?? '', text: event.delta ?? '' }
    case 'conversation.item.input_audio_transcription.completed':
      return { kind: 'heard', who: 'you', id: event.item_id ?? '', text: event.transcript ?? '' }
    default:
      return null
  }
}
