import { Fragment, type ReactNode } from 'react'
import { type Schema, shapeName } from './openapi'

/** A type in words, with links to the shapes that it names. */
export function TypeWords({ of }: { of: Schema }): ReactNode {
  if (of.$ref)
    return (
      <a className="text-accent-ink underline underline-offset-2" href={`#shape-${shapeName(of.$ref)}`}>
        {shapeName(of.$ref)}
      </a>
    )
  if (of.oneOf) return <Several of={of.oneOf} between=" or " />
  if (of.allOf) return <Several of={of.allOf} between=" and " />
  if (of.enum) return of.enum.map((value) => JSON.stringify(value)).join(', ')
  const types = [of.type ?? 'any'].flat()
  const words = types.map((type) => (type === 'string' && of.format ? of.format : type))
  if (!of.items) return words.join(' or ')
  return (
    <>
      list of <TypeWords of={of.items} />
      {types.includes('null') && ' or null'}
    </>
  )
}

function Several({ of, between }: { of: Schema[]; between: string }) {
  return of.map((each, index) => (
    <Fragment key={JSON.stringify(each)}>
      {index > 0 && between}
      <TypeWords of={each} />
    </Fragment>
  ))
}

/** What a shape holds: all fields of the shapes that it takes over, and its own. */
export function Fields({ of }: { of: Schema }) {
  const parts = of.allOf ?? [of]
  const takenOver = parts.filter((part) => part.$ref)
  const rows = parts.flatMap((part) =>
    Object.entries(part.properties ?? {}).map(([name, schema]) => ({
      name,
      schema,
      note: schema.description,
      needed: part.required?.includes(name) ?? false,
    })),
  )
  if (rows.length === 0)
    return (
      <p className="text-ink-2">
        <TypeWords of={of} />
      </p>
    )
  return (
    <>
      {takenOver.length > 0 && (
        <p className="text-ink-2">
          All of <Several of={takenOver} between=" and " />, and:
        </p>
      )}
      <Rows rows={rows} />
    </>
  )
}

export function Rows({
  rows,
}: {
  rows: { name: string; schema: Schema; note?: string; needed: boolean; where?: string }[]
}) {
  return (
    <dl className="divide-y">
      {rows.map(({ name, schema, note, needed, where }) => (
        <div key={name} className="grid gap-x-4 gap-y-0.5 py-2 sm:grid-cols-[14rem_minmax(0,1fr)]">
          <dt className="break-words">
            <code className="font-medium">{name}</code>
            {needed && <span className="text-ink-3 text-xs"> needed</span>}
            {where && <span className="block text-ink-3 text-xs">{where}</span>}
          </dt>
          <dd className="min-w-0 break-words text-ink-2">
            <TypeWords of={schema} />
            <Bounds of={schema} />
            {note && <span className="block text-ink-3">{note}</span>}
          </dd>
        </div>
      ))}
    </dl>
  )
}

function Bounds({ of }: { of: Schema }) {
  const words = [
    of.minimum !== undefined && `from ${of.minimum}`,
    of.maximum !== undefined && `to ${of.maximum}`,
    of.default !== undefined && `${JSON.stringify(of.default)} if not said`,
  ].filter(Boolean)
  return words.length > 0 && <span className="text-ink-3">, {words.join(' ')}</span>
}
