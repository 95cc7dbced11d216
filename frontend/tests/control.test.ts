import { describe, expect, it } from 'vitest'
import type { TaskEvent } from '@/api'
import { eventDetails, eventTitle, eventTone } from '@/lib/events'
import { bytes } from '@/lib/format'
import { isFiltered, nextOrder, readQuery, sortedBy, writeQuery } from '@/lib/listQuery'
import { barOf, measures, otherFacts, queueText } from '@/lib/progress'
import { bodyOf, daysText, draftErrors, emptyDraft, whenText } from '@/lib/schedules'
import { constraintText, type Field, formModel } from '@/lib/schemaForm'
import { daysLeft, expiryText, tokenNameError } from '@/lib/tokens'
import type { Task } from '@/live/messages'
import { sample } from './samples'

const NOW = Date.parse('2026-11-25T12:00:00Z')

function taskWith(given: Record<string, unknown>): Task {
  const found = sample('server_tasks_snapshot')
  if (found.type !== 'snapshot' || found.topic !== 'tasks' || !found.tasks[0]) throw new Error('no task')
  return { ...found.tasks[0], ...given } as Task
}

const tilesOf = (progress: Record<string, unknown>, given = {}) =>
  Object.fromEntries(measures(taskWith({ progress, ...given }), NOW).map((tile) => [tile.name, tile]))

describe('progress', () => {
  it('has a tile for what was told and none for what was not', () => {
    expect(Object.keys(tilesOf({ lag_ms: 81.6, missed: 0 }))).toEqual(['lag_ms', 'missed'])
    expect(measures(taskWith({ progress: {} }), NOW)).toEqual([])
  })

  it('writes numbers with their units', () => {
    const tiles = tilesOf({ rows_per_s: 9876.5, lag_ms: 81.6, last_batch_at: NOW - 4_000, jvm_mb: 1312.4 })
    expect(tiles.rows_per_s?.value).toBe('9,877')
    expect(tiles.lag_ms?.value).toBe('82 ms')
    expect(tiles.last_batch_at?.note).toBe('4 s ago')
    expect(tiles.jvm_mb?.value).toBe('1,312 MB')
  })

  it('warns of what an operator should look at', () => {
    const tiles = tilesOf({
      lag_ms: 9_000,
      late: true,
      missed: 2,
      behind: 40,
      saved_at: NOW,
      unsaved: 'disk full',
    })
    expect(Object.values(tiles).filter(({ warn }) => warn)).toHaveLength(4)
    expect(tiles.saved_at).toMatchObject({ value: 'not written', note: 'disk full' })
  })

  it('says how much of its heap a run uses where the limit is known', () => {
    expect(tilesOf({ heap_mb: 312 }, { memory_mb: 768 }).heap_mb?.note).toBe('of 768 MB')
  })

  it('draws a bar for a batch only', () => {
    expect(barOf({ share: 0.375, stage: 'train', stage_number: 2, stages: 4 })).toEqual({
      percent: 38,
      stage: 'Stage 2 of 4: train',
    })
    expect(barOf({ share: 1 })).toEqual({ percent: 100, stage: '' })
    expect(barOf({ lag_ms: 3 })).toBeNull()
  })

  it('lists what has no tile', () => {
    expect(otherFacts({ lag_ms: 3, stage: 'train', rejected: { late: 4 }, fitted: 7 })).toEqual([
      { name: 'rejected: late', value: '4' },
      { name: 'fitted', value: '7' },
    ])
  })

  it('says where a run stands in the queue', () => {
    expect(queueText({ position: 1, taken: 8, slots: 8 })).toBe(
      'Waiting for a free slot: next in the queue, 8 of 8 slots taken.',
    )
    expect(queueText({ position: 3, taken: 8, slots: 8 })).toContain('number 3 in the queue')
    expect(queueText({ position: 1, taken: 0, slots: 0 })).toBe('Waiting: no worker is running.')
  })
})

describe('an event', () => {
  const event = (given: Partial<TaskEvent>): TaskEvent => ({
    at: '2026-11-25T12:00:00Z',
    attempt: 1,
    kind: 'move',
    from: '',
    to: '',
    actor: 'operator',
    reason: '',
    details: {},
    ...given,
  })

  it('is told in words, moves and wishes alike', () => {
    expect(eventTitle(event({ from: 'Started', to: 'Running' }))).toBe('Running')
    expect(eventTitle(event({ from: 'Stopped', to: 'Initial' }))).toBe('New attempt')
    expect(eventTitle(event({ kind: 'stop' }))).toBe('Stop asked for')
    expect(eventTitle(event({ kind: 'sent_again' }))).toBe('Sent again')
  })

  it('has the colour of the state that it leads to', () => {
    expect(eventTone(event({ to: 'Terminated' }))).toBe('bad')
    expect(eventTone(event({ kind: 'stop' }))).toBe('calm')
  })

  it('tells its details', () => {
    expect(eventDetails(event({ details: { k: 5, model: 'rls' } }))).toBe('k 5, model rls')
  })
})

describe('the filter of a list in the address', () => {
  it('is read from it, with what is missing empty', () => {
    expect(readQuery({ kind: 'batch', page: '3' }, ['kind', 'feed'])).toEqual({
      kind: 'batch',
      feed: '',
      page: 3,
    })
    expect(readQuery({ kind: ['a', 'b'], page: '-1' }, ['kind'])).toEqual({ kind: '', page: 1 })
  })

  it('begins on page 1 when it changes, and keeps what is not its own', () => {
    expect(writeQuery({ page: '3', run: '7' }, { kind: 'feed' })).toEqual({ run: '7', kind: 'feed' })
    expect(writeQuery({ kind: 'feed' }, { page: 2 })).toEqual({ kind: 'feed', page: '2' })
    expect(writeQuery({ kind: 'feed', page: '2' }, { kind: '' })).toEqual({})
  })

  it('leaves something out only by what it filters', () => {
    expect(isFiltered({ kind: '', order: '-id', page: 2 })).toBe(false)
    expect(isFiltered({ kind: 'feed' })).toBe(true)
  })

  it('orders by a column, newest first, then the other way round', () => {
    expect(nextOrder('-id', 'id')).toBe('id')
    expect(nextOrder('id', 'id')).toBe('-id')
    expect(nextOrder('-id', 'status')).toBe('-status')
    expect(sortedBy('-id', 'id')).toBe('descending')
    expect(sortedBy('-id', 'status')).toBe('none')
  })
})

describe('a token', () => {
  it('has a name of its own', () => {
    expect(tokenNameError('note book', [])).not.toBe('')
    expect(tokenNameError('notebook', [{ name: 'notebook' }])).toContain('already')
    expect(tokenNameError('notebook-2', [{ name: 'notebook' }])).toBe('')
  })

  it('tells when it expires', () => {
    const after = (days: number) => new Date(NOW + days * 86_400_000).toISOString()
    expect(expiryText(after(30), NOW)).toBe('in 30 days')
    expect(expiryText(after(1), NOW)).toBe('in 1 day')
    expect(expiryText(after(0.2), NOW)).toBe('within a day')
    expect(expiryText(after(-1), NOW)).toBe('expired')
    expect(daysLeft(after(2), NOW)).toBe(2)
  })
})

describe('what a parameter takes', () => {
  const text = (schema: Record<string, unknown>) => {
    const { first } = formModel({ properties: { it: schema } })
    return constraintText(first[0] as Field)
  }

  it('is said by its choices or its bounds', () => {
    expect(text({ enum: ['rls', null] })).toBe('rls, none')
    expect(text({ type: 'integer', minimum: 1, maximum: 32 })).toBe('integer ≥ 1 ≤ 32')
    expect(text({ anyOf: [{ type: 'number', exclusiveMinimum: 0 }, { type: 'null' }] })).toBe(
      'number > 0 or none',
    )
  })
})

it('writes sizes of files', () => {
  expect([0, 1023, 1024, 3_500_000].map(bytes)).toEqual(['0 B', '1,023 B', '1.0 KB', '3.3 MB'])
})

describe('a schedule', () => {
  const draft = emptyDraft(7, 'XSHG', 'Asia/Shanghai')

  it('says when it acts', () => {
    expect(whenText(draft)).toBe('10 min before the opening of XSHG')
    expect(whenText({ ...draft, moment: 'close', offset_min: 5 })).toBe('5 min after the closing of XSHG')
    expect(whenText({ ...draft, moment: 'lunch', offset_min: 0 })).toBe('at the lunch break of XSHG')
    expect(whenText({ ...draft, by: 'clock', at: '09:15:00' })).toBe('09:15 Asia/Shanghai, Mon to Fri')
    expect(daysText([6, 0])).toBe('Mon, Sun')
    expect(daysText([0, 1, 2, 3, 4, 5, 6])).toBe('every day')
  })

  it('is sent when nothing is missing', () => {
    expect(bodyOf({ ...draft, weekdays: [4, 0] })).toMatchObject({
      task: 7,
      weekdays: [0, 4],
      calendar: 'XSHG',
    })
    expect(bodyOf({ ...draft, task: null })).toBeNull()
    expect(draftErrors({ ...draft, by: 'clock', at: '', weekdays: [] })).toEqual({
      at: 'Enter a time of day.',
      weekdays: 'Choose at least one day.',
    })
    expect(draftErrors({ ...draft, calendar: ' ' })).toHaveProperty('calendar')
  })
})
