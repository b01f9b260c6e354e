const COLOURS = 8

export function colour({ other }: { other: boolean }, index: number): string {
  return other ? 'var(--series-other)' : `var(--series-${index % COLOURS})`
}
