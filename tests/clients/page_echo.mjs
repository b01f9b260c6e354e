// A browser's own WebSocket, and a provider that sends back whatever comes: text and bytes of all sizes at which frames
// change their form. A browser sends what is long in fragments.

const SIZES = [0, 1, 125, 126, 65_535, 65_536, 300_000]

function bytes(size) {
  const all = new Uint8Array(size)
  for (let at = 0; at < size; at += 65_536) crypto.getRandomValues(all.subarray(at, at + 65_536))
  return all.buffer
}

function same(sent, heard) {
  if (typeof sent === 'string') return sent === heard
  const bytes = new Uint8Array(heard)
  return bytes.length === sent.byteLength && new Uint8Array(sent).every((byte, at) => byte === bytes[at])
}

export default (origin, key) =>
  new Promise((resolve) => {
    const sent = SIZES.flatMap((size) => [bytes(size), 'ż'.repeat(size / 2)])
    const result = { sent: sent.length, same: 0, protocol: null, close_code: null }
    const protocols = ['realtime', `openai-insecure-api-key.${key}`]
    const socket = new WebSocket(`${origin}/v1/realtime?model=gpt-realtime&load=echo`, protocols)
    socket.binaryType = 'arraybuffer'
    const waiting = [...sent]
    function hear({ data }) {
      if (same(waiting.shift(), data)) result.same += 1
      if (!waiting.length) socket.close(3000, 'all is said')
    }
    // The greeting comes first.
    socket.onmessage = () => {
      result.protocol = socket.protocol
      socket.onmessage = hear
      for (const message of sent) socket.send(message)
    }
    socket.onclose = ({ code, reason }) => {
      console.log(JSON.stringify({ ...result, close_code: code, close_reason: reason }))
      resolve()
    }
  })
