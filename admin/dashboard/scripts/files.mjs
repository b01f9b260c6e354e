import { readdirSync } from 'node:fs'

/** Paths of all files under a folder, relative to it, sorted. */
export function filesUnder(folder) {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) =>
      `${entry.parentPath ?? entry.path}/${entry.name}`.replace(/\/+/g, '/').slice(folder.length),
    )
    .sort()
}
