/** What a run tells of itself, put into words: the progress of its attempt, and its place in the queue. */

import * as format from '@/lib/format'
import type { Task } from '@/live/messages'
import { facts } from './tasks'

export interface Measure {
  name: string
  title: string
  value: string
  note: string
  warn: boolean
}

export interface Bar {
  percent: number
  stage: string
}

type Told = Readonly<Record<string, unknown>>

function numberIn(told: Told, name: string): number | null {
  const value = told[name]
  return typeof value === 'number' ? value : null
}

const megabytes = (mb: number | null) => (mb === null ? format.NONE : `${format.integer(mb)} MB`)
const ago = (ms: number, now: number) =>
  `${format.duration(Math.max(0, Math.round((now - ms) / 1000) * 1000))} ago`
const atTime = (ms: number) => format.recentTime(new Date(ms).toISOString())

type Shown = Partial<Measure> & { value: string }

/** Each fact that has a tile of its own: its title and how its value is written. */
const TILES: Record<
  string,
  { title: string; show: (value: number, told: Told, now: number, task: Task) => Shown }
> = {
  rows_per_s: {
    title: 'Rows per second',
    show: (value) => ({ value: format.integer(value), note: 'over the last ten seconds' }),
  },
  batches: {
    title: 'Batches',
    show: (value, told) => ({
      value: format.integer(value),
      note: `${format.integer(numberIn(told, 'rows'))} rows in this attempt`,
    }),
  },
  lag_ms: {
    title: 'Lag',
    show: (value, told) => ({
      value: format.duration(Math.round(value)),
      note: told.late === true ? 'late: slower than the feed' : 'snapshot to result',
      warn: told.late === true,
    }),
  },
  last_batch_at: {
    title: 'Last batch',
    show: (value, _, now) => ({ value: atTime(value), note: ago(value, now) }),
  },
  behind: {
    title: 'Waiting snapshots',
    show: (value) => ({ value: format.integer(value), note: 'on the bus', warn: value > 3 }),
  },
  missed: {
    title: 'Missed',
    show: (value) => ({
      value: format.integer(value),
      note: value ? 'trimmed from the bus unread' : 'no snapshot missed',
      warn: value > 0,
    }),
  },
  stored: {
    title: 'Kept in the history',
    show: (value, told) => ({
      value: format.integer(value),
      note: told.not_taken
        ? String(told.not_taken)
        : `snapshots, ${format.integer(numberIn(told, 'gathered'))} to be written`,
      warn: Boolean(told.not_taken),
    }),
  },
  raw_rows: {
    title: 'Ticks kept',
    show: (value, told) => ({
      value: format.integer(value),
      note: told.raw_missed
        ? `${format.integer(numberIn(told, 'raw_missed'))} snapshots without theirs`
        : 'beside the snapshots',
      warn: Boolean(told.raw_missed),
    }),
  },
  kept: {
    title: 'Results kept',
    show: (value, told) => ({
      value: format.integer(value),
      note: told.not_taken ? String(told.not_taken) : 'new ones of this attempt',
      warn: Boolean(told.not_taken),
    }),
  },
  snapshots: { title: 'Snapshots', show: (value) => ({ value: format.integer(value), note: 'published' }) },
  received: {
    title: 'Rows received',
    show: (value) => ({ value: format.integer(value), note: 'from the source' }),
  },
  heap_mb: {
    title: 'JVM heap',
    show: (value, _told, _now, task) => ({
      value: megabytes(value),
      note: `of ${megabytes(task.memory_mb)}`,
    }),
  },
  jvm_mb: { title: 'JVM', show: (value) => ({ value: megabytes(value), note: 'memory of the process' }) },
  python_mb: {
    title: 'Python',
    show: (value) => ({ value: megabytes(value), note: 'memory of all its processes' }),
  },
  saved_at: {
    title: 'Checkpoint',
    show: (value, told, now) =>
      told.unsaved
        ? { value: 'not written', note: String(told.unsaved), warn: true }
        : { value: atTime(value), note: ago(value, now) },
  },
}

/** Facts that are in a tile, in the bar or of use to programs only. */
const TOLD_ELSEWHERE = new Set([
  ...Object.keys(TILES),
  ...[
    'rows',
    'late',
    'unsaved',
    'stage',
    'stage_number',
    'stages',
    'share',
    'stalled',
    'seq',
    'index',
    'gathered',
    'not_taken',
  ],
])

/** Return the tiles of a run's progress: what it has told, in the order of the table above. */
export function measures(task: Task, now: number): Measure[] {
  const told: Told = task.progress
  return Object.entries(TILES).flatMap(([name, { title, show }]) => {
    const value = numberIn(told, name)
    return value === null ? [] : [{ name, title, note: '', warn: false, ...show(value, told, now, task) }]
  })
}

/** Return how far a batch is, null for what has no end. */
export function barOf(progress: Told): Bar | null {
  const share = numberIn(progress, 'share')
  if (share === null) return null
  const [at, of] = [numberIn(progress, 'stage_number'), numberIn(progress, 'stages')]
  const stage = typeof progress.stage === 'string' ? progress.stage : ''
  const place = at !== null && of !== null ? `Stage ${at} of ${of}` : ''
  return { percent: Math.round(share * 100), stage: [place, stage].filter(Boolean).join(': ') }
}

/** Return what else it has told, as words and values. */
export function otherFacts(progress: Told) {
  return facts(Object.fromEntries(Object.entries(progress).filter(([name]) => !TOLD_ELSEWHERE.has(name))))
}

export type Queue = NonNullable<Task['queue']>

/** Say where a run stands that waits for a free slot. */
export function queueText({ position, taken, slots }: Queue): string {
  if (!slots) return 'Waiting: no worker is running.'
  const before = position === 1 ? 'next in the queue' : `number ${position} in the queue`
  return `Waiting for a free slot: ${before}, ${taken} of ${slots} slots taken.`
}
