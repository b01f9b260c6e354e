/** What a thing is drawn in: the same in every chart and after a reload, so that nobody takes one for the other. */

const COLOURS = 8
/** Of each kind so many names keep their colour; then the one that was drawn first gives way. */
const NAMES_MAX = 256
const KEPT_IN = 'tokenist-colours'

type Known = Map<string, number>
const kinds = new Map<string, Known>()

/** The colours of these names, of which each kind (models, users, …) has its own; `null` is all others together. */
export function coloursOf(kind: string, names: (string | null)[]): string[] {
  const known = kinds.get(kind) ?? kept(kind)
  kinds.set(kind, known)
  const wanted = names.filter((name) => name !== null)
  if (wanted.some((name) => !known.has(name))) {
    learn(known, wanted)
    keep()
  }
  const slots = distinct(wanted.map((name) => known.get(name) ?? 0))
  return names.map((name) => (name === null ? 'var(--series-other)' : `var(--series-${slots.shift()})`))
}

/** Gives each new name a colour that the fewest have, its own favourite among those. */
export function learn(known: Known, names: string[]) {
  for (const name of names.toSorted()) {
    if (known.has(name)) continue
    const counts = new Array<number>(COLOURS).fill(0)
    for (const slot of known.values()) counts[slot] = (counts[slot] ?? 0) + 1
    const fewest = Math.min(...counts)
    const favourite = hash(name)
    const order = counts.map((_, step) => (favourite + step) % COLOURS)
    known.set(name, order.find((slot) => counts[slot] === fewest) ?? favourite)
    const [first] = known.keys()
    if (known.size > NAMES_MAX && first !== undefined) known.delete(first)
  }
}

/** Two that share a colour are told apart within one chart: the later one takes one that nobody there has. */
export function distinct(slots: number[]): number[] {
  const taken = new Set(slots)
  const seen = new Set<number>()
  return slots.map((slot) => {
    const free = [...Array(COLOURS).keys()].find((each) => !taken.has(each))
    const mine = seen.has(slot) && free !== undefined ? free : slot
    taken.add(mine)
    seen.add(mine)
    return mine
  })
}

function hash(name: string): number {
  let sum = 0
  for (const char of name) sum = (sum * 31 + (char.codePointAt(0) ?? 0)) % 1_000_003
  return sum % COLOURS
}

/** What the last visit drew. Whatever is not as we keep it counts as nothing. */
function kept(kind: string): Known {
  try {
    const all: unknown = JSON.parse(localStorage.getItem(KEPT_IN) ?? '{}')
    const entries = Object.entries((all as Record<string, Record<string, unknown>>)[kind] ?? {})
    return new Map(entries.filter((entry): entry is [string, number] => isSlot(entry[1])))
  } catch {
    return new Map()
  }
}

function isSlot(value: unknown): value is number {
  return Number.isInteger(value) && Number(value) >= 0 && Number(value) < COLOURS
}

function keep() {
  const all = Object.fromEntries([...kinds].map(([kind, known]) => [kind, Object.fromEntries(known)]))
  try {
    localStorage.setItem(KEPT_IN, JSON.stringify(all))
  } catch {
    // Where nothing may be kept the colours last as long as the page.
  }
}
