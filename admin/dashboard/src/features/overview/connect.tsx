'use client'
import { useState } from 'react'
import { Card } from '@/ui/card'
import { Copy } from '@/ui/copy'
import { Segmented } from '@/ui/segmented'
import { SNIPPETS } from './snippets'

/** First visit: nothing was counted yet, so the page says how to change that. */
export function Connect() {
  const [language, setLanguage] = useState<keyof typeof SNIPPETS>('python')
  const { code } = SNIPPETS[language]
  return (
    <Card
      title="Connect your application"
      note="Nothing has passed through tokenist yet. Numbers appear here within a second of the first event."
      actions={<Segmented label="Language" value={language} options={OPTIONS} onChange={setLanguage} />}
    >
      <div className="grid gap-5 lg:grid-cols-[minmax(0,1fr)_minmax(0,1.4fr)]">
        <ol className="grid content-start gap-3 text-ink-2">
          <Step n={1} title="Point the SDK at the proxy">
            The base URL is the address where the proxy listens, <Code>http://127.0.0.1:8080/v1</Code> unless{' '}
            <Code>proxy.listen</Code> says otherwise. It is not this page’s address.
          </Step>
          <Step n={2} title="Name the user">
            Send <Code>x-user-id</Code> with every connection. <Code>x-org-id</Code> and{' '}
            <Code>x-feature</Code> are optional and become filters here.
          </Step>
          <Step n={3} title="Keep your provider’s key">
            It is passed on unchanged. Or give applications a tokenist key instead, from the Keys page.
          </Step>
        </ol>
        <div className="min-w-0 rounded-lg border bg-canvas">
          <div className="flex items-center justify-between border-b py-1.5 pr-1.5 pl-3 text-ink-3 text-xs">
            {SNIPPETS[language].file}
            <Copy text={code} />
          </div>
          {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
          <section aria-label="Example" tabIndex={0} className="overflow-x-auto p-3">
            <pre className="font-mono text-xs leading-5">{code}</pre>
          </section>
        </div>
      </div>
    </Card>
  )
}

const OPTIONS = Object.entries(SNIPPETS).map(([value, { label }]) => ({
  value: value as keyof typeof SNIPPETS,
  label,
}))

function Step({ n, title, children }: { n: number; title: string; children: React.ReactNode }) {
  return (
    <li className="flex gap-3">
      <span
        aria-hidden
        className="grid size-5 shrink-0 place-items-center rounded-full bg-accent-soft font-semibold text-2xs text-accent-ink"
      >
        {n}
      </span>
      <span>
        <span className="block font-medium text-ink">{title}</span>
        {children}
      </span>
    </li>
  )
}

function Code({ children }: { children: string }) {
  return <code className="rounded bg-sunken px-1 py-px font-mono text-ink text-xs">{children}</code>
}
