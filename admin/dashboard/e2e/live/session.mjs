// A voice application's side of a session, as the proxy sees it. It holds on until the other end closes, so that a
// journey can watch what operators do to it.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'
import { CAST } from './cast.mjs'
import { PATIENCE_MS, stage } from './stage.mjs'

/** What an application shows unless it has a key of ours. */
const PROVIDERS_KEY = 'sk-of-the-application'

export class Session {
  /** What it has heard and nobody has asked for. */
  #events = []
  #news = new EventTarget()
  /** The close code, and the `error` event before it; null while it is open. */
  #end = null

  /** One that was let in. */
  static async open(identity, bearer) {
    const session = new Session(identity, bearer)
    await session.#until('session.created')
    return session
  }

  /** The end of one that should not be let in. */
  static refused = (identity, bearer) => new Session(identity, bearer).end()

  constructor({ user, org, feature, model = 'gpt-realtime' }, bearer = PROVIDERS_KEY) {
    // The provider's own account tells by this for whom it delivered.
    const query = new URLSearchParams({ model, audit: JSON.stringify([user, org, feature]) })
    const named = { 'x-user-id': user, 'x-org-id': org, 'x-feature': feature }
    const headers = Object.fromEntries(Object.entries(named).filter(([, value]) => value !== undefined))
    if (bearer !== PROVIDERS_KEY) delete headers['x-user-id']
    // The headers are what Node's own takes beyond the standard.
    this.socket = new WebSocket(`${stage.proxy.replace(/^http/, 'ws')}/v1/realtime?${query}`, {
      headers: { ...headers, authorization: `Bearer ${bearer}` },
    })
    let failure
    this.socket.addEventListener('message', ({ data }) => {
      const event = JSON.parse(data)
      if (event.type === 'error') failure = event.error
      this.#events.push(event)
      this.#news.dispatchEvent(new Event('news'))
    })
    this.socket.addEventListener('close', ({ code }) => {
      this.#end = { code, failure }
      this.#news.dispatchEvent(new Event('news'))
    })
  }

  /** Asks for a response and hears it out. */
  async turn() {
    this.socket.send(
      JSON.stringify({ type: 'response.create', response: { metadata: { sim: 'chunks=3,pace=5' } } }),
    )
    await this.#until('response.done')
  }

  /** How it ended, once it has: `{ code, failure }`. */
  end() {
    return this.#look(() => this.#end, 'the end of the session')
  }

  async leave() {
    this.socket.close(1000)
    await this.end()
  }

  #until(type) {
    return this.#look(() => {
      const index = this.#events.findIndex((event) => event.type === type)
      if (index < 0) assert.equal(this.#end, null, `the session ended before ${type}`)
      return index < 0 ? null : this.#events.splice(0, index + 1).at(-1)
    }, type)
  }

  async #look(seen, what) {
    const signal = AbortSignal.timeout(PATIENCE_MS)
    for (;;) {
      const found = seen()
      if (found) return found
      await once(this.#news, 'news', { signal }).catch(() => assert.fail(`${what} has not come`))
    }
  }
}

/** The whole cast takes turns until it is stopped; then each ends what it has begun. */
export async function startTraffic() {
  const sessions = await Promise.all(CAST.map((identity) => Session.open(identity)))
  let going = true
  const all = Promise.all(
    sessions.map(async (session) => {
      while (going) {
        await session.turn()
        await pause(400)
      }
      await session.leave()
    }),
  )
  // Who awaits the end hears of a failure; until then it is nobody's.
  all.catch(() => {})
  return {
    async stop() {
      going = false
      await all
    },
  }
}
