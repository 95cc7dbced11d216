import { describe, expect, it } from 'vitest'
import type { Health } from '@/api'
import { healthFacts, STATES, total, troubles } from '@/lib/feeds'

const HEALTH: Health = {
  feed: 'ashare',
  state: 'partial',
  why: '10 of 30 stocks are in its newest snapshot',
  task: 7,
  last_time: 1_764_124_203_000,
  age_s: 1.5,
  delay_s: null,
  session: '2025-11-26/am',
  received: 10,
  expected: 30,
  snapshots: 138,
  rows: 4_140,
  rejected: { late: 2, bad_number: 5 },
  noted: { bad_quote: 3 },
  samples: { bad_number: ['000001,ten'] },
  late: 2,
  duplicates: 0,
  gaps: 1,
  sources: [],
  budget: null,
  opens_at: null,
}

const fact = (health: Health, name: string) => healthFacts(health).find((each) => each.name === name)?.value

describe('health of a feed', () => {
  it('tells numbers with their units and what is not known as nothing', () => {
    expect(fact(HEALTH, 'Published')).toBe('1.5 s ago')
    expect(fact(HEALTH, 'Delay')).toBe('–')
    expect(fact(HEALTH, 'Stocks')).toBe('10 of 30')
    expect(fact(HEALTH, 'Opens')).toBeUndefined()
    expect(fact({ ...HEALTH, opens_at: 1_764_124_203_000 }, 'Opens')).not.toBeUndefined()
  })

  it('shows what was dropped and what was set aside, the most frequent first', () => {
    expect(troubles(HEALTH).map(({ reason, dropped }) => [reason, dropped])).toEqual([
      ['bad_number', true],
      ['bad_quote', false],
      ['late', true],
    ])
    expect(troubles(HEALTH)[0]?.samples).toEqual(['000001,ten'])
    expect(total(HEALTH.rejected)).toBe(7)
  })

  it('calls a closed market no trouble', () => {
    expect(STATES.closed.tone).toBe('')
    expect(STATES.stale.tone).toBe('bad')
  })
})
