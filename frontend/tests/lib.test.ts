import { describe, expect, it } from 'vitest'
import * as format from '@/lib/format'
import {
  fieldError,
  formErrors,
  formModel,
  initialValues,
  type JsonSchema,
  paramsOf,
  placeErrors,
} from '@/lib/schemaForm'
import { details, intervalText, summary, wording } from '@/lib/score'
import { facts, liveValue, toneOf } from '@/lib/tasks'
import { backoffMs } from '@/live/backoff'
import type { Numbers, Task } from '@/live/messages'
import { sample } from './samples'

const SCHEMA: JsonSchema = {
  $defs: { Model: { enum: ['rls', 'sgd'], title: 'Model', type: 'string' } },
  properties: {
    window: { type: 'integer', default: 3, minimum: 2, maximum: 50, title: 'Window' },
    forgetting: { type: 'number', default: 0.999, exclusiveMinimum: 0.5, maximum: 1 },
    regression: { $ref: '#/$defs/Model', default: 'rls', title: 'Regression model' },
    clustering: { enum: ['kmeans', 'streaming_kmeans'], type: 'string', default: 'kmeans' },
    k: { type: 'integer', default: 4, minimum: 1, maximum: 32, title: 'Clusters (K)', live: true },
    seed: { anyOf: [{ type: 'integer' }, { type: 'null' }], default: null },
    graph: { type: 'boolean', default: false },
    codes: { type: 'array' } as JsonSchema,
  },
}
const model = formModel(SCHEMA)
const field = (name: string) => {
  const found = [...model.first, ...model.more].find((row) => row.name === name)
  if (!found) throw new Error(name)
  return found
}

describe('a form drawn from a schema', () => {
  it('shows K and the models first', () => {
    expect(model.first.map(({ name }) => name)).toEqual(['k', 'clustering', 'regression'])
    expect(model.more.map(({ name }) => name)).toEqual(['window', 'forgetting', 'seed', 'graph', 'codes'])
  })

  it('hides nothing of a short form', () => {
    const short = formModel({ properties: { window: { type: 'integer' } } })
    expect(short.first).toHaveLength(1)
    expect(short.more).toEqual([])
  })

  it('follows references, alternatives with null, and words without a title', () => {
    expect(field('regression')).toMatchObject({
      kind: 'enum',
      options: ['rls', 'sgd'],
      title: 'Regression model',
    })
    expect(field('seed')).toMatchObject({ kind: 'integer', nullable: true, title: 'Seed' })
    expect(field('graph').kind).toBe('boolean')
    expect(field('codes').kind).toBe('json')
    expect(field('k').live).toBe(true)
  })

  it('sends defaults as they are, and null only where it may be', () => {
    const params = paramsOf(model, initialValues(model))
    expect(params).toMatchObject({ k: 4, regression: 'rls', seed: null, graph: false })
    expect(params).not.toHaveProperty('codes')
    expect(paramsOf(model, { ...initialValues(model), codes: '["000001"]' }).codes).toEqual(['000001'])
  })

  it('checks the bounds', () => {
    expect(fieldError(field('k'), 33)).toBe('At most 32.')
    expect(fieldError(field('k'), 0)).toBe('At least 1.')
    expect(fieldError(field('k'), 2.5)).toBe('Enter a whole number.')
    expect(fieldError(field('forgetting'), 0.5)).toBe('More than 0.5.')
    expect(fieldError(field('codes'), '[')).toBe('Enter valid JSON.')
    expect(formErrors(model, initialValues(model))).toEqual({})
  })

  it('puts the server’s errors at their fields', () => {
    const placed = placeErrors(model, { 'params.k': ['Too many.'], window: ['Odd.'], feed: ['Unknown.'] })
    expect(placed).toEqual({ byField: { k: 'Too many.', window: 'Odd.' }, rest: ['feed: Unknown.'] })
  })
})

describe('a score in words', () => {
  it.each([
    [0.965, '3.5 % smaller error than the last price'],
    [1, 'no better than the last price so far'],
    [1.2, 'no better than the last price so far'],
    [0.9999, 'as good as the last price so far'],
    [null, 'no score yet'],
  ])('says of %s: %s', (ratio, text) => {
    expect(wording(ratio).text).toBe(text)
  })

  it('is not sure of a difference that chance could have made', () => {
    expect(wording(0.98, [0.95, 1.01]).text).toBe('not surely better than the last price so far')
    expect(wording(0.98, [0.96, 0.999]).verdict).toBe('better')
    expect(intervalText([0.941, 0.989])).toBe('0.941 – 0.989')
  })

  it('says what the bands held and where the guard stood', () => {
    const { numbers } = sample<{ item: { numbers: Numbers } }>('server_results_update').item
    const facts = details(numbers.scores?.since_start ?? null)
    expect(facts[0]).toEqual({ name: '80 % band held', value: '81 %', note: '56 % given a move' })
    expect(facts.map(({ value }) => value)).toEqual(['81 %', '95 %', '61 %', '12 %'])
    expect(details(null)).toEqual([])
  })

  it('sums up in a sentence', () => {
    expect(summary({ rmse_ratio: 0.9 })).toContain('10.0 % smaller error')
    expect(summary(null)).toBe('No prediction has met its truth yet.')
  })
})

describe('numbers and times', () => {
  it('look alike everywhere', () => {
    expect(format.integer(12345)).toBe('12,345')
    expect(format.price(0.5)).toBe('0.5000')
    expect(format.price(23.1)).toBe('23.100')
    expect(format.price(1923)).toBe('1,923.00')
    expect(format.bp(1.24)).toBe('+1.2')
    expect(format.bp(-0.4)).toBe('−0.4')
    expect(format.bp(-0.01)).toBe('0.0')
    expect(format.duration(250)).toBe('250 ms')
    expect(format.duration(3000)).toBe('3 s')
    expect(format.duration(4_000_000)).toBe('1 h 6 min')
    expect(format.duration(60_000)).toBe('1 min')
    expect(format.duration(61_000)).toBe('1 min 1 s')
  })

  it('say nothing where there is nothing', () => {
    for (const show of [format.integer, format.price, format.bp, format.duration])
      expect([show(null), show(undefined), show(Number.NaN)]).toEqual(['–', '–', '–'])
    expect(format.localTime(null)).toBe('–')
    expect(format.recentTime(null)).toBe('–')
  })

  it('stand in the zone that is asked for', () => {
    expect(format.dateTime(1638322200000, 'Asia/Shanghai')).toBe('2021-12-01 09:30:00')
    expect(format.clock(1638322200000, 'America/New_York')).toBe('20:30:00')
  })
})

describe('a task', () => {
  const [feed, stream] = sample<{ tasks: [Task, Task] }>('server_tasks_snapshot').tasks

  it('tells its live values and facts', () => {
    expect(liveValue(stream, 'k')).toBe(2)
    expect(liveValue({ ...stream, live_params: ['k'], params: { k: 7 } }, 'k')).toBe(7)
    expect(facts(feed.progress)).toContainEqual({ name: 'rejected: duplicate', value: '12' })
  })

  it('has a tone for every state, in any letter case', () => {
    expect(toneOf('Running')).toBe('good')
    expect(toneOf('TERMINATED')).toBe('bad')
    expect(toneOf('unheard of')).toBe('calm')
  })
})

it('waits longer each time, up to a cap', () => {
  expect(backoffMs(0, 1)).toBe(500)
  expect(backoffMs(3, 1)).toBe(4000)
  expect(backoffMs(50, 1)).toBe(15_000)
  expect(backoffMs(50, 0)).toBe(7_500)
})
