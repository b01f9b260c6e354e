// A browser's own WebSocket at Deepgram: sound goes up in binary, and the key as a subprotocol behind `token`.

export default (origin, key) =>
  new Promise((resolve) => {
    const result = { answers: 0, stated_ms: null, error: null, close_code: null, close_reason: null }
    const query = 'model=nova-3&encoding=linear16&sample_rate=16000'
    const socket = new WebSocket(`${origin}/v1/listen?${query}`, ['token', key])
    let pieces = 0
    // Half a second of sound every so often.
    function speak() {
      if (socket.readyState !== WebSocket.OPEN) return
      if (pieces++ === 4) return socket.send(JSON.stringify({ type: 'CloseStream' }))
      socket.send(new Blob([new Uint8Array(16_000)]))
      setTimeout(speak, 50)
    }
    socket.onopen = speak
    socket.onmessage = ({ data }) => {
      const event = JSON.parse(data)
      if (event.type === 'Results') result.answers += 1
      if (event.type === 'Metadata') result.stated_ms = event.duration * 1000
      if (event.type === 'Error') result.error = event
    }
    socket.onclose = ({ code, reason }) => {
      console.log(JSON.stringify({ ...result, close_code: code, close_reason: reason }))
      resolve()
    }
  })
