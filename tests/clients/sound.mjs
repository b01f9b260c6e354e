// What Node's clients of providers that bill time have in common: what they send, and how they tell what they heard.

const { PIECES = 4, PAUSE_SECONDS = 0.05 } = process.env

export const result = { answers: 0, stated_ms: null, error: null }
export const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000))

// The first reason is the one that counts.
export function failed(type, code, text) {
  result.error ??= { type, code: code ?? null, text }
}

// Says half a second of 16 kHz so many times, until something is wrong.
export async function speak(say) {
  for (let i = 0; i < PIECES && !result.error; i++) {
    await say(new Uint8Array(16_000))
    await pause(PAUSE_SECONDS)
  }
}

export function tell() {
  console.log(JSON.stringify(result))
  process.exit()
}
