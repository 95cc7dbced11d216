/** Makes src/live/generated/messages.ts from docs/asyncapi.json: `npm run generate`. */

import { readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import openapiTS, { astToString } from 'openapi-typescript'

const here = (path) => fileURLToPath(new URL(path, import.meta.url))
const SOURCE = here('../../docs/asyncapi.json')
export const TARGET = here('../src/live/generated/messages.ts')
const HEAD = `/* Made from docs/asyncapi.json by npm run generate; the types' home is tasks_app/messages.py. */\n\n`

/** Return the TypeScript of the types that the AsyncAPI document describes. */
export async function generate() {
  const { components, info } = JSON.parse(await readFile(SOURCE, 'utf8'))
  const described = { openapi: '3.1.0', info, paths: {}, components: { schemas: components.schemas } }
  const nodes = await openapiTS(described, {
    defaultNonNullable: false,
    rootTypes: true,
    rootTypesNoSchemaPrefix: true,
  })
  return HEAD + astToString(nodes)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await writeFile(TARGET, await generate())
