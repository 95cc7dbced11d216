import { describe, expect, it } from 'vitest'
import type { Item, ServerMessage, Task } from '@/live/messages'
import { dismissNotice, EMPTY, isAfter, type LiveState, reduce, without, withTask } from '@/live/reducer'
import { POINTS } from '@/live/series'
import { names, sample } from './samples'

const TASK = 2

type Snapshot = Extract<ServerMessage, { type: 'snapshot'; topic: 'results' }>
type Update = Extract<ServerMessage, { type: 'update'; topic: 'results' }>

function fold(messages: ServerMessage[], state: LiveState = EMPTY): LiveState {
  return messages.reduce((before, message) => reduce(before, message).state, state)
}

const opened = () => fold([sample('server_results_snapshot')])
const results = (state: LiveState) => {
  const found = state.results[TASK]
  if (!found) throw new Error('the task has no results')
  return found
}

function later(item: Item, by: number): Item {
  const time = item.numbers.time + by * 3000
  return {
    ...item,
    id: `${Number(item.id.split('-')[0]) + by * 3000}-0`,
    numbers: { ...item.numbers, time, target_time: time + 3000 },
  }
}

describe('the reducer', () => {
  it.each(names.filter((name) => name.startsWith('server_')))('follows the sample %s', (name) => {
    expect(() => reduce(opened(), sample(name))).not.toThrow()
  })

  it('fills the series of every cluster from a snapshot', () => {
    const { series, lastId, latest } = results(opened())
    expect(Object.keys(series)).toEqual(['1', '2'])
    expect(series[1]?.points.map((point) => point.predictedIndex)).toEqual([null, 100.091, null])
    expect(series[2]?.points.map((point) => point.fallback)).toEqual([false, true, false])
    expect(lastId).toBe(latest?.id)
  })

  it('appends an update that joins on', () => {
    const { state, send } = reduce(opened(), sample('server_results_update'))
    expect(results(state).series[1]?.points).toHaveLength(4)
    expect(send).toEqual([])
  })

  it('asks for what is missing at a gap, once, and joins the answer on', () => {
    const before = opened()
    const gap = sample<Update>('server_results_update_gap')
    const first = reduce(before, gap)
    expect(first.send).toEqual([
      { type: 'subscribe', topic: 'results', task: TASK, after: results(before).lastId },
    ])
    expect(results(first.state).series).toBe(results(before).series)
    expect(reduce(first.state, { ...gap, prev: gap.item.id, item: later(gap.item, 1) }).send).toEqual([])
    const resumed = fold([sample('server_results_resumed')], first.state)
    expect(results(resumed).series[1]?.points).toHaveLength(6)
    expect(results(resumed).resyncing).toBe(false)
    expect(results(resumed).lastId).toBe(gap.item.id)
  })

  it('applies nothing twice', () => {
    const once = fold([sample('server_results_update')], opened())
    expect(fold([sample('server_results_update')], once)).toEqual(once)
    expect(results(fold([sample('server_results_resumed')], once)).series[1]?.points).toHaveLength(6)
  })

  it('forgets what it has when told to restart', () => {
    const long = fold([sample('server_results_update')], opened())
    expect(results(fold([sample('server_results_snapshot')], long)).series[1]?.points).toHaveLength(3)
  })

  it('starts new series and says so when the recording began again', () => {
    const state = fold([sample('server_results_update_run')], opened())
    expect(results(state).series[1]?.points).toHaveLength(1)
    expect(results(state).notice).toMatchObject({ run: 2 })
    expect(results(dismissNotice(state, TASK)).notice).toBeNull()
  })

  it('keeps the charts of a closed market', () => {
    const messages = ['server_results_update_run', 'server_results_update_closed'].map((name) => sample(name))
    const state = results(fold(messages, opened()))
    expect(state.latest?.numbers.trading).toBe(false)
    expect(state.clusters.map(({ id }) => id)).toEqual([1, 2])
    expect(state.series[1]?.points).toHaveLength(1)
  })

  it('holds no more than its cap per series, the newest', () => {
    const snapshot = sample<Snapshot>('server_results_snapshot')
    const last = snapshot.items.at(-1) as Item
    const items = Array.from({ length: POINTS + 50 }, (_, at) => later(last, at + 1))
    const points = results(fold([{ ...snapshot, items }])).series[1]?.points
    expect(points).toHaveLength(POINTS)
    expect(points?.at(-1)?.time).toBe(items.at(-1)?.numbers.time)
  })

  it('drops the series of a cluster that is long gone', () => {
    const snapshot = sample<Snapshot>('server_results_snapshot')
    const last = snapshot.items.at(-1) as Item
    const alone = { ...last.numbers, clusters: last.numbers.clusters.slice(0, 1) }
    const items = Array.from({ length: POINTS + 1 }, (_, at) => later({ ...last, numbers: alone }, at + 1))
    const joined = fold([{ ...snapshot, items, restart: false }], opened())
    expect(Object.keys(results(joined).series)).toEqual(['1'])
  })

  it('follows a processor without index and scores', () => {
    const state = fold([sample('server_results_stock_avg')])
    expect(state.results[4]?.series[1]?.points[0]).toMatchObject({ price: 38.42, index: null })
  })

  it('knows the tasks and their changes', () => {
    const state = fold([sample('server_tasks_snapshot'), sample('server_tasks_update')])
    expect(state.tasksLoaded).toBe(true)
    expect(Object.keys(state.tasks)).toHaveLength(3)
    expect(state.tasks[TASK]?.stopping).toBe(true)
  })

  it('merges changed stocks into the full set, and leaves gaps where there is no forecast', () => {
    const state = fold([sample('server_stocks_full'), sample('server_stocks_changes')])
    expect(state.stocks[TASK]?.rows['000001']?.price).toBe(17.53)
    expect(state.stocks[TASK]?.rows['300750']?.forecast).toBeNull()
    expect(without(state, 'stocks', TASK).stocks).toEqual({})
  })

  it('shows what the server could not follow', () => {
    expect(fold([sample('server_error')]).error).toBe('There is no task 99.')
  })
})

it('compares ids by number, not by letter', () => {
  expect(isAfter('10-0', '9-5')).toBe(true)
  expect(isAfter('9-10', '9-9')).toBe(true)
  expect(isAfter('9', '9-0')).toBe(false)
  expect(isAfter('1-0', null)).toBe(true)
})

it('keeps what the websocket told when the answer to a request comes after it', () => {
  const told = fold([sample('server_tasks_update')])
  const [known] = Object.values(told.tasks) as [Task]
  const at = (status: Task['status'], attempt = known.attempt, more: Partial<Task> = {}) =>
    withTask(withTask(told, { ...known, status: 'Stopped' }), { ...known, status, attempt, ...more }).tasks[
      known.id
    ]
  expect(at('Running')?.status).toBe('Stopped')
  expect(at('Terminated', known.attempt - 1)?.status).toBe('Stopped')
  expect(at('Initial', known.attempt + 1)?.status).toBe('Initial')
  expect(at('Stopped', known.attempt, { reason: 'enough' })?.reason).toBe('enough')
  expect(at('Initial', 1, { created_at: '2030-01-01T00:00:00Z' })?.status).toBe('Initial')
})
