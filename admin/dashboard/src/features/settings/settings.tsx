'use client'
import { api } from '@/api/client'
import type { Setting } from '@/api/types'
import { Card } from '@/ui/card'
import { PageHeader } from '@/ui/header'
import { Answer } from '@/ui/state'
import { HealthCard } from './health-card'

export function Settings() {
  const settings = api.useQuery('get', '/admin/settings', {}, { refetchInterval: 60_000 })
  return (
    <>
      <PageHeader
        title="Settings and health"
        note="How this process does, and the configuration in force. It is changed in tokenist.toml or the environment, not here; secrets are masked."
        fresh={settings}
      />
      <div className="grid gap-5">
        <HealthCard />
        <Answer of={settings}>
          {(data) => (
            <div className="gap-5 lg:columns-2">
              {sectionsOf(data.settings).map(([section, rows]) => (
                <div key={section} className="mb-5 break-inside-avoid">
                  <Section name={section} rows={rows} />
                </div>
              ))}
            </div>
          )}
        </Answer>
      </div>
    </>
  )
}

function sectionsOf(settings: Setting[]) {
  const sections = new Map<string, Setting[]>()
  for (const each of settings) sections.set(each.section, [...(sections.get(each.section) ?? []), each])
  return [...sections]
}

function Section({ name, rows }: { name: string; rows: Setting[] }) {
  return (
    <Card title={name} flush>
      <dl className="divide-y">
        {rows.map(({ key, value }) => (
          <div key={key} className="flex items-baseline justify-between gap-4 px-4 py-2 sm:px-5">
            <dt className="font-mono text-ink-2 text-xs">{key}</dt>
            <dd className="min-w-0 text-right font-mono text-xs [overflow-wrap:anywhere]">{words(value)}</dd>
          </div>
        ))}
      </dl>
    </Card>
  )
}

function words(value: unknown) {
  if (value === null || value === undefined || value === '')
    return <span className="text-ink-3">not set</span>
  return typeof value === 'string' ? value : JSON.stringify(value)
}
