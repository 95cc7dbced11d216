import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { generate, TARGET } from '../scripts/messages.mjs'

it('the types of the messages are those of docs/asyncapi.json: else run npm run generate', async () => {
  expect(readFileSync(TARGET, 'utf8')).toBe(await generate())
})
