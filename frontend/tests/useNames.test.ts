import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { effectScope, nextTick, ref } from 'vue'
import { useNames } from '@/lib/useNames'

const KNOWN: Record<string, string> = { '600000': '浦发银行', '000001': '平安银行' }
let asked: URL[] = []
let down = false

/** The server’s side of GET /api/instruments. */
async function answer(path: string): Promise<Response> {
  const url = new URL(path, 'http://here')
  asked.push(url)
  if (down) return new Response('{}', { status: 503 })
  const codes = (url.searchParams.get('codes') ?? '').split(',')
  const results = codes.filter((code) => code in KNOWN).map((code) => ({ code, name: KNOWN[code] }))
  return new Response(JSON.stringify({ count: results.length, next: null, previous: null, results }))
}

const settled = async () => {
  await nextTick()
  await new Promise((resolve) => setTimeout(resolve, 5))
}

beforeEach(() => {
  asked = []
  down = false
  vi.stubGlobal('fetch', answer)
  vi.stubGlobal('document', { cookie: '' })
})
afterEach(() => vi.unstubAllGlobals())

it('asks once for each page of codes, and for none twice', async () => {
  const shown = ref({ calendar: 'XSHG', codes: ['600000', '688001'] })
  const life = effectScope()
  const nameOf = life.run(() => useNames(() => shown.value))
  await settled()
  expect([nameOf?.('600000'), nameOf?.('688001')]).toEqual(['浦发银行', undefined])
  shown.value = { calendar: 'XSHG', codes: ['600000', '688001'] }
  await settled()
  expect(asked).toHaveLength(1)
  shown.value = { calendar: 'XSHG', codes: ['688001', '000001'] }
  await settled()
  expect(asked.map((url) => url.searchParams.get('codes'))).toEqual(['600000,688001', '000001'])
  expect(asked[0]?.searchParams.get('calendar')).toBe('XSHG')
  expect([nameOf?.('600000'), nameOf?.('000001')]).toEqual(['浦发银行', '平安银行'])
  life.stop()
})

it('tells the names of the market that is shown', async () => {
  const shown = ref({ calendar: 'XSHG', codes: ['600000'] })
  const life = effectScope()
  const nameOf = life.run(() => useNames(() => shown.value))
  await settled()
  expect(nameOf?.('600000')).toBe('浦发银行')
  shown.value = { calendar: 'XNYS', codes: ['IBM'] }
  await settled()
  expect(nameOf?.('600000')).toBeUndefined()
  life.stop()
})

it('does without names while the server can’t tell, and asks again later', async () => {
  down = true
  const shown = ref({ calendar: 'XSHG', codes: ['600000'] })
  const life = effectScope()
  const nameOf = life.run(() => useNames(() => shown.value))
  await settled()
  expect(nameOf?.('600000')).toBeUndefined()
  down = false
  shown.value = { calendar: 'XSHG', codes: ['600000', '000001'] }
  await settled()
  expect([nameOf?.('600000'), nameOf?.('000001')]).toEqual(['浦发银行', '平安银行'])
  life.stop()
})
