import { Badge, type Tone } from '@/ui/badge'
import { Card } from '@/ui/card'
import { Logo } from '@/ui/logo'
import { anchorOf, type Operation, SECTIONS, SHAPES, schemaOf } from './openapi'
import { Fields, Rows, TypeWords } from './shape'

const LINK = 'text-accent-ink underline underline-offset-2'
const TONES: Record<string, Tone> = {
  get: 'neutral',
  post: 'accent',
  put: 'accent',
  patch: 'accent',
  delete: 'bad',
}

/** The API for people, from the description that clients are generated from. */
export function ApiReference() {
  return (
    <div className="mx-auto grid w-full max-w-[84rem] gap-8 px-4 py-8 lg:grid-cols-[14.5rem_minmax(0,1fr)] lg:px-9">
      <nav aria-label="Contents" className="h-fit lg:sticky lg:top-8">
        <a href="/" className="mb-5 inline-block rounded">
          <Logo />
        </a>
        <ul className="flex flex-wrap gap-x-4 gap-y-1 lg:grid">
          {SECTIONS.map(({ name }) => (
            <li key={name}>
              <a className="text-ink-2 capitalize hover:text-ink" href={`#${name}`}>
                {name}
              </a>
            </li>
          ))}
          <li>
            <a className="text-ink-2 hover:text-ink" href="#shapes">
              Shapes
            </a>
          </li>
        </ul>
      </nav>
      <main className="grid min-w-0 gap-10">
        <header>
          <h1 className="font-semibold text-xl tracking-tight">API</h1>
          <p className="mt-1 max-w-prose text-ink-2">
            JSON both ways, times in UTC, ids in paths URL-encoded. Send <code>Authorization: Bearer …</code>{' '}
            with the operator’s token, a login’s token or a tokenist key. An error is{' '}
            <code>{'{"error": "a sentence"}'}</code>, or a list of <code>{'{path, message, code}'}</code>{' '}
            where fields are wrong. Clients are generated from{' '}
            <a className={LINK} href="/openapi.json">
              openapi.json
            </a>
            .
          </p>
        </header>
        {SECTIONS.map(({ name, description, operations }) => (
          <section key={name} aria-labelledby={name}>
            <h2 id={name} className="scroll-mt-6 font-semibold text-lg capitalize tracking-tight">
              {name}
            </h2>
            <p className="mb-3 text-ink-3">{description}</p>
            <Card flush>
              <div className="divide-y">
                {operations.map((operation) => (
                  <Entry key={anchorOf(operation)} of={operation} />
                ))}
              </div>
            </Card>
          </section>
        ))}
        <section aria-labelledby="shapes">
          <h2 id="shapes" className="mb-3 scroll-mt-6 font-semibold text-lg tracking-tight">
            Shapes
          </h2>
          <div className="grid gap-4">
            {SHAPES.map(([name, schema]) => (
              <div
                key={name}
                id={`shape-${name}`}
                className="min-w-0 scroll-mt-6 rounded-xl border bg-panel px-4 py-3.5 shadow-card sm:px-5"
              >
                <h3 className="font-semibold text-sm">{name}</h3>
                {schema.description && <p className="text-ink-3 text-xs">{schema.description}</p>}
                <Fields of={schema} />
              </div>
            ))}
          </div>
        </section>
      </main>
    </div>
  )
}

function Entry({ of }: { of: Operation }) {
  const body = schemaOf(of.requestBody?.content)
  return (
    <details id={anchorOf(of)} className="group scroll-mt-6 px-4 py-3 sm:px-5">
      <summary className="flex cursor-pointer flex-wrap items-baseline gap-x-3 gap-y-1">
        <Badge tone={TONES[of.method]}>{of.method.toUpperCase()}</Badge>
        <code className="min-w-0 break-all font-medium">{of.path}</code>
        <span className="min-w-0 basis-full text-ink-3">{of.summary}</span>
      </summary>
      <div className="mt-3 grid gap-4">
        {of.description && <p className="max-w-prose whitespace-pre-line text-ink-2">{of.description}</p>}
        {of.parameters && (
          <div>
            <h3 className="font-medium">Parameters</h3>
            <Rows
              rows={of.parameters.map(({ name, schema = {}, description, required, in: where }) => ({
                name,
                schema,
                note: description,
                needed: required ?? false,
                where,
              }))}
            />
          </div>
        )}
        {body && (
          <div>
            <h3 className="font-medium">Body</h3>
            <p className="text-ink-2">
              <TypeWords of={body} />
            </p>
          </div>
        )}
        <div>
          <h3 className="font-medium">Answers</h3>
          <dl className="divide-y">
            {Object.entries(of.responses).map(([status, { description, content }]) => {
              const schema = schemaOf(content)
              return (
                <div key={status} className="grid grid-cols-[4rem_minmax(0,1fr)] gap-x-4 py-1.5">
                  <dt className="font-medium tabular-nums">{status}</dt>
                  <dd className="text-ink-2">
                    {description} {schema && <TypeWords of={schema} />}
                  </dd>
                </div>
              )
            })}
          </dl>
        </div>
      </div>
    </details>
  )
}
