// The mock's truth: who exists and what each used in which hour. Every answer is summed from here, so that
// two pages never disagree; live sessions add to it once a second.
import { randomOf } from './random.mjs'

export const HOUR = 3_600_000
const DAYS = 62
const HOURS_AHEAD = 72
const random = randomOf(7)
const pick = (list) => list[Math.floor(random() * list.length)]

export const firstHour = Math.floor(Date.now() / HOUR) - DAYS * 24
const hourCount = DAYS * 24 + HOURS_AHEAD

const MODELS = [
  { model: 'gpt-realtime', provider: 'openai', in: 32, out: 64, share: 0.42 },
  { model: 'gpt-realtime-mini', provider: 'openai', in: 10, out: 20, share: 0.2 },
  { model: 'gemini-live-2.5-flash', provider: 'google', in: 3, out: 12, share: 0.16 },
  { model: 'grok-voice', provider: 'xai', in: 8, out: 24, share: 0.08 },
  { model: 'nova-2-sonic', provider: 'bedrock', in: 3.4, out: 13.6, share: 0.07 },
  { model: 'gpt-4o-transcribe', provider: 'openai', in: 6, out: 10, share: 0.05 },
  { model: 'voice-experimental-2026-11', provider: 'openai', in: 5, out: 20, share: 0.02 },
]
const ORGS = [
  'acme',
  'globex',
  'initech',
  'umbrella',
  'hooli',
  'stark-industries',
  'wayne-enterprises',
  'soylent',
  'tyrell',
  'cyberdyne',
  'aperture',
  '<b>org & sons</b>',
  null,
]
const FEATURES = [
  'support-voice',
  'language-tutor',
  'sales-agent',
  'transcription',
  'onboarding',
  '"><svg onload=alert(1)>',
  null,
]
const FIRST = [
  'Ana',
  'Ben',
  'Chloé',
  'Dmitri',
  'Elif',
  'Farid',
  'Grace',
  'Hiro',
  'Ines',
  'Jonas',
  'Kavya',
  'Liam',
  'Mira',
  'Noor',
  'Oskar',
  'Priya',
  'Quinn',
  'Rosa',
  'Sven',
  'Tariq',
  'Uma',
  'Vera',
  'Wanjiru',
  'Xin',
  'Yusuf',
]
const LAST = [
  'Meyer',
  'Okafor',
  'Tanaka',
  'Silva',
  'Novak',
  'Haddad',
  'Larsen',
  'Moreau',
  'Patel',
  'Rossi',
  'Schmidt',
  'Kim',
  'Nguyen',
]
const NASTY = [
  '<img src=x onerror=alert(1)>',
  '=HYPERLINK("http://example.test","open")',
  'a/b?c=d#e&f',
  `long-${'0123456789abcdef'.repeat(12)}`,
  '利用者-四十二',
  '"><script>alert(1)</script>',
]

export const users = Array.from({ length: 300 }, (_, n) => {
  const name = `${pick(FIRST)} ${pick(LAST)}`
  const id = NASTY[n] ?? `${name.toLowerCase().replace(/[^a-z]+/g, '.')}.${String(n).padStart(3, '0')}`
  const named = n >= NASTY.length && random() < 0.8
  return { id, name: named ? name : null, email: named ? `${id}@example.test` : null, org: pick(ORGS) }
})

const weigh = () => {
  let left = random()
  for (const each of MODELS) {
    left -= each.share
    if (left <= 0) return each
  }
  return MODELS[0]
}

/** One user with one feature and one model: what a session adds to. */
export const combos = users.flatMap((user, n) =>
  Array.from({ length: 1 + Math.floor(random() * 3) }, () => {
    const combo = { user: user.id, org: user.org, feature: pick(FEATURES), ...weigh(), hours: new Map() }
    const size = Math.exp(random() * 4.2) * (n < 20 ? 5 : 1)
    const chance = 0.03 + random() * 0.2
    for (let hour = 0; hour <= DAYS * 24; hour++) {
      const inDay = (firstHour + hour) % 24
      const awake = 0.25 + Math.max(0, Math.sin(((inDay - 5) / 24) * 2 * Math.PI))
      const growth = 0.5 + (hour / (DAYS * 24)) * 0.9
      if (random() < chance * awake)
        addAt(
          combo,
          hour,
          Math.round(size * growth * (200 + random() * 900)),
          Math.round(size * growth * (80 + random() * 500)),
          1 + Math.floor(random() * 14),
        )
    }
    return combo
  }),
)

function addAt(combo, hour, input, output, requests) {
  if (hour < 0 || hour >= hourCount) return
  const cell = combo.hours.get(hour) ?? { input: 0, output: 0, requests: 0, cost: 0 }
  cell.input += input
  cell.output += output
  cell.requests += requests
  cell.cost += (input * combo.in + output * combo.out) / 1e6
  combo.hours.set(hour, cell)
}

let opened = 0
export const live = []
export const past = []

export function open(now = Date.now()) {
  const combo = combos[Math.floor(random() * combos.length)]
  const session = {
    id: `s_${(++opened).toString(36).padStart(6, '0')}`,
    combo,
    openedAt: now,
    input: 0,
    output: 0,
    requests: 0,
    cost: 0,
    pace: 30 + random() * 260,
  }
  live.push(session)
  return session
}

export function close(session, code, now = Date.now()) {
  live.splice(live.indexOf(session), 1)
  past.unshift({ ...session, closedAt: now, code })
  past.length = Math.min(past.length, 400)
}

export function tick(now = Date.now()) {
  const hour = Math.floor(now / HOUR) - firstHour
  for (const session of live) {
    const input = Math.round(session.pace * (0.5 + random()))
    const output = Math.round(session.pace * 0.5 * random())
    speak(session, hour, input, output)
  }
  if (random() < 0.05 && live.length > 9)
    close(live[Math.floor(random() * live.length)], pick([1000, 1000, 1000, 1001, 4008]), now)
  if (live.length < 16 && random() < 0.4) open(now)
}

function speak(session, hour, input, output) {
  addAt(session.combo, hour, input, output, 1)
  session.input += input
  session.output += output
  session.requests += 1
  session.cost += (input * session.combo.in + output * session.combo.out) / 1e6
}

/** Gives the mock a past of sessions and some that are under way. */
export function begin() {
  const now = Date.now()
  const codes = [1000, 1000, 1000, 1001, 4004, 4003, 4008, 4502, null]
  for (let n = 0; n < 120; n++) {
    const session = open(now - n * 400_000 - 900_000)
    session.input = Math.round(session.pace * 400)
    session.output = Math.round(session.pace * 130)
    session.requests = 40
    session.cost = (session.input * session.combo.in + session.output * session.combo.out) / 1e6
    live.pop()
    past.push({ ...session, closedAt: session.openedAt + 30_000 + random() * 700_000, code: pick(codes) })
  }
  for (let n = 0; n < 14; n++) {
    const age = Math.floor(random() * 900)
    const session = open(now - age * 1000)
    const hour = Math.floor(now / HOUR) - firstHour
    speak(session, hour, Math.round(session.pace * age), Math.round(session.pace * age * 0.25))
    session.requests = Math.ceil(age / 8)
  }
}
