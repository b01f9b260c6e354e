// What the reference reads of the API's description. It is read when the page is built, so the page needs no script.
import { readFileSync } from 'node:fs'

export interface Schema {
  $ref?: string
  type?: string | string[]
  format?: string
  description?: string
  enum?: unknown[]
  items?: Schema
  oneOf?: Schema[]
  allOf?: Schema[]
  properties?: Record<string, Schema>
  additionalProperties?: Schema | boolean
  required?: string[]
  default?: unknown
  minimum?: number
  maximum?: number
}

export interface Parameter {
  name: string
  in: string
  description?: string
  required?: boolean
  schema?: Schema
}

type Content = Record<string, { schema?: Schema }>
export interface Operation {
  method: string
  path: string
  summary?: string
  description?: string
  tags?: string[]
  parameters?: Parameter[]
  requestBody?: { content: Content }
  responses: Record<string, { description: string; content?: Content }>
  security?: unknown[]
}

interface Description {
  tags: { name: string; description: string }[]
  paths: Record<string, Record<string, Omit<Operation, 'method' | 'path'>>>
  components: { schemas: Record<string, Schema> }
}

const { tags, paths, components }: Description = JSON.parse(readFileSync('../openapi.json', 'utf8'))

const operations: Operation[] = Object.entries(paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ ...operation, method, path })),
)

export const SECTIONS = tags
  .map((tag) => ({ ...tag, operations: operations.filter((each) => each.tags?.includes(tag.name)) }))
  .filter((section) => section.operations.length > 0)

export const SHAPES = Object.entries(components.schemas).sort(([a], [b]) => a.localeCompare(b))

export const schemaOf = (content?: Content) => Object.values(content ?? {})[0]?.schema
export const shapeName = (ref: string) => ref.slice(ref.lastIndexOf('/') + 1)
export const anchorOf = ({ method, path }: Operation) => `${method}-${path.replace(/[^\w]+/g, '-')}`
