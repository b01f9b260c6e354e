import type { StackProps } from './stacked-bars'

/** The chart's numbers, newest first: the same that the bars show, for reading and for screen readers. */
export function Numbers({ groups, points, format, description }: StackProps) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
    <section aria-label={description} tabIndex={0} className="max-h-72 overflow-auto rounded-lg border">
      <table className="w-full border-collapse text-xs tabular-nums">
        <caption className="sr-only">{description}</caption>
        <thead className="sticky top-0 bg-panel">
          <tr>
            <th scope="col" className="whitespace-nowrap px-3 py-2 text-left font-medium text-ink-3">
              Time (UTC)
            </th>
            {groups.map((group) => (
              <th
                key={group.label}
                scope="col"
                className="max-w-40 truncate px-3 py-2 text-right font-medium text-ink-3"
              >
                {group.label}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {points.toReversed().map((point) => (
            <tr key={point.full} className="border-t">
              <th scope="row" className="whitespace-nowrap px-3 py-1.5 text-left font-normal">
                {point.full}
              </th>
              {groups.map((group, index) => (
                <td key={group.label} className="whitespace-nowrap px-3 py-1.5 text-right">
                  {format(point.values[index] ?? 0)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}
