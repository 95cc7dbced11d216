import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { ServerMessage } from '@/live/messages'

const folder = fileURLToPath(new URL('../../tests/fixtures/messages/', import.meta.url))

export const names = readdirSync(folder)
  .filter((file) => file.endsWith('.json'))
  .map((file) => file.replace('.json', ''))

export function sample<T = ServerMessage>(name: string): T {
  return JSON.parse(readFileSync(`${folder}${name}.json`, 'utf8')) as T
}
