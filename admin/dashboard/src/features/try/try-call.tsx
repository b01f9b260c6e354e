'use client'
import { type ReactNode, useEffect, useReducer, useRef, useState } from 'react'
import { Button } from '@/ui/button'
import { Card } from '@/ui/card'
import { Field, Input } from '@/ui/field'
import { count, usd } from '@/ui/format'
import { Logo } from '@/ui/logo'
import { Note } from '@/ui/notice'
import { Stat, Stats } from '@/ui/stat'
import { begin, type Call, mayListen, type News, type Wish } from './call'
import { type Spending, spending, whyOver } from './spending'

/** How often what was spent is asked for. */
const BEAT_MS = 1000

interface Line {
  who: 'you' | 'model'
  id: string
  text: string
}
interface Talk {
  stage: 'none' | 'connecting' | 'live'
  lines: Line[]
  /** Why the last call is over, or did not begin. */
  why: string | null
}
type Step =
  | Exclude<News, { kind: 'over' }>
  | { kind: 'over'; why: string | null }
  | { kind: 'asked' }
  | { kind: 'failed'; why: string }

const SILENCE: Talk = { stage: 'none', lines: [], why: null }

function follow(talk: Talk, step: Step): Talk {
  switch (step.kind) {
    case 'asked':
      return { ...SILENCE, stage: 'connecting' }
    case 'connected':
      return { ...talk, stage: 'live' }
    case 'heard':
      return { ...talk, lines: joined(talk.lines, step) }
    case 'failed':
    case 'over':
      return { ...talk, stage: 'none', why: step.why }
  }
}

function joined(lines: Line[], { who, id, text }: Line): Line[] {
  const last = lines.at(-1)
  if (last?.who !== who || last.id !== id) return [...lines, { who, id, text }]
  return [...lines.slice(0, -1), { who, id, text: last.text + text }]
}

/** A call from this page, with what it costs while it goes on. It ends where the caller's limit does. */
export function TryCall() {
  const [wish, setWish] = useState<Wish>({
    address: usualAddress(),
    key: '',
    user: '',
    model: 'gpt-realtime',
  })
  const [talk, step] = useReducer(follow, SILENCE)
  const [spent, setSpent] = useState<{ before: Spending | null; now: Spending | null }>()
  const call = useRef<Call>(null)
  const speaker = useRef<HTMLAudioElement>(null)
  const ask = () => spending(wish.address, wish.key, wish.user)

  async function start() {
    step({ kind: 'asked' })
    const before = await ask()
    setSpent({ before, now: before })
    try {
      call.current = await begin(wish, speaker.current as HTMLAudioElement, hear)
    } catch (error) {
      // That nothing was told says no more than that.
      setSpent((spent) => (spent?.before ? spent : undefined))
      step({ kind: 'failed', why: (error as Error).message })
    }
  }
  function say(text: string) {
    call.current?.say(text)
    step({ kind: 'heard', who: 'you', id: `typed ${Date.now()}`, text })
  }
  async function hear(news: News) {
    if (news.kind !== 'over') return step(news)
    const now = await ask()
    setSpent((spent) => spent && { ...spent, now })
    step({ kind: 'over', why: news.why ?? (news.isHungUp ? null : whyOver(now)) })
  }
  useEffect(() => {
    if (talk.stage !== 'live') return
    const beat = setInterval(async () => {
      const now = await spending(wish.address, wish.key, wish.user)
      setSpent((spent) => spent && { ...spent, now })
    }, BEAT_MS)
    return () => clearInterval(beat)
  }, [talk.stage, wish])
  useEffect(() => () => call.current?.hangUp(), [])

  const isIdle = talk.stage === 'none'
  return (
    <main className="mx-auto grid w-full max-w-3xl gap-5 px-4 py-8">
      {/* What this page may reach no other page may: each is loaded for itself. */}
      <a href="/" className="inline-block w-fit rounded">
        <Logo />
      </a>
      <header>
        <h1 className="font-semibold text-xl tracking-tight">Try a call</h1>
        <p className="text-ink-2">
          Speak with a model over WebRTC through tokenist, and see what it costs while you do. The call ends
          where the user’s limit does.
        </p>
      </header>
      <Form wish={wish} isFixed={!isIdle} change={setWish} start={start}>
        {!isIdle && (
          <Button look="danger" onClick={() => call.current?.hangUp()} disabled={talk.stage !== 'live'}>
            Hang up
          </Button>
        )}
      </Form>
      {talk.why && <Note tone="bad">{talk.why}</Note>}
      {spent && <Spent {...spent} />}
      {(talk.stage === 'live' || talk.lines.length > 0) && (
        <Card title="What is said" note={talk.stage === 'live' ? 'Connected' : 'Over'}>
          <Lines lines={talk.lines} />
          {talk.stage === 'live' && <Typed say={say} />}
        </Card>
      )}
      {/* biome-ignore lint/a11y/useMediaCaption: what is said stands above */}
      <audio ref={speaker} autoPlay />
    </main>
  )
}

/** The usual ports of the proxy, on the host that this page is from. */
function usualAddress() {
  const { protocol, hostname } = location
  return `${protocol}//${hostname}:${protocol === 'https:' ? 8443 : 8080}`
}

interface FormProps {
  wish: Wish
  isFixed: boolean
  change: (wish: Wish) => void
  start: () => void
  children: ReactNode
}

function Form({ wish, isFixed, change, start, children }: FormProps) {
  const input = (name: keyof Wish) => ({
    value: wish[name],
    disabled: isFixed,
    onChange: ({ target }: { target: HTMLInputElement }) => change({ ...wish, [name]: target.value.trim() }),
  })
  return (
    <Card>
      <form
        className="grid gap-4 sm:grid-cols-2"
        onSubmit={(event) => {
          event.preventDefault()
          start()
        }}
      >
        <Field
          label="Proxy"
          hint={`Its proxy.listen or proxy.tls_listen; ${location.origin} has to be among its browser.origins.`}
        >
          {(ids) => <Input {...ids} {...input('address')} type="url" required />}
        </Field>
        <Field label="Model">{(ids) => <Input {...ids} {...input('model')} required />}</Field>
        <Field label="Key" hint="A key from the Keys page (ug_…) or a page’s token (ek_…).">
          {(ids) => <Input {...ids} {...input('key')} type="password" required />}
        </Field>
        <Field label="User" hint="Only where the key is not bound to one.">
          {(ids) => <Input {...ids} {...input('user')} />}
        </Field>
        <div className="flex flex-wrap items-center gap-3 sm:col-span-2">
          <Button type="submit" look="primary" disabled={isFixed}>
            Call
          </Button>
          {children}
          {!mayListen() && (
            <p className="text-ink-3 text-xs">
              Browsers give a microphone to pages of localhost or over TLS alone; here you can type.
            </p>
          )}
        </div>
      </form>
    </Card>
  )
}

function Spent({ before, now }: { before: Spending | null; now: Spending | null }) {
  if (!before || !now) return <Note>With this key nobody is told what is used.</Note>
  const left = now.remaining.cost_usd
  return (
    <Stats>
      <Stat label="This call" value={usd(now.used.cost_usd - before.used.cost_usd)} />
      <Stat label="Tokens" value={count(now.used.tokens - before.used.tokens)} note="of this call" />
      <Stat label="Used" value={usd(now.used.cost_usd)} note="in the limit’s window" />
      <Stat label="Left" value={left === null ? 'no limit' : usd(left)} />
    </Stats>
  )
}

function Lines({ lines }: { lines: Line[] }) {
  return (
    <ol aria-live="polite" className="grid gap-2">
      {lines.map(({ who, id, text }) => (
        <li key={`${who} ${id}`} className="grid grid-cols-[4rem_minmax(0,1fr)] gap-2">
          <span className="text-ink-3">{who === 'you' ? 'You' : 'Model'}</span>
          <span className="break-words">{text}</span>
        </li>
      ))}
    </ol>
  )
}

function Typed({ say }: { say: (text: string) => void }) {
  const [text, setText] = useState('')
  return (
    <form
      className="mt-4 flex gap-2"
      onSubmit={(event) => {
        event.preventDefault()
        say(text)
        setText('')
      }}
    >
      <Input
        aria-label="Say it in writing"
        placeholder="Speak, or write here"
        value={text}
        onChange={({ target }) => setText(target.value)}
        required
      />
      <Button type="submit">Say</Button>
    </form>
  )
}
