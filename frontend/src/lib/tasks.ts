import type { Kind, Task } from '@/live/messages'

export type Tone = 'good' | 'busy' | 'calm' | 'bad'

const TONES: Record<string, Tone> = {
  initial: 'busy',
  started: 'busy',
  running: 'good',
  finished: 'calm',
  stopped: 'calm',
  terminated: 'bad',
}

export const KINDS: Record<Kind, string> = { feed: 'Feed', stream: 'Stream', batch: 'Batch' }

export const STATUSES = Object.keys(TONES).map(statusTitle)

export const statusOf = (task: Task) => task.status.toLowerCase()
export const isRunning = (task: Task) => statusOf(task) === 'running'
export const isActive = (task: Task) => ['initial', 'started', 'running'].includes(statusOf(task))

export function toneOf(status: string): Tone {
  return TONES[status.toLowerCase()] ?? 'calm'
}

export function statusTitle(status: string): string {
  return status.charAt(0).toUpperCase() + status.slice(1).toLowerCase()
}

export function newestFirst(tasks: Task[]): Task[] {
  return tasks.sort((a, b) => b.id - a.id)
}

/** Return a parameter's value now: what was changed while it runs stands among the others. */
export function liveValue(task: Task, name: string): unknown {
  return task.params[name]
}

/** Return the facts of a progress in a flat list of words and values; nested counts get a line each. */
export function facts(progress: Record<string, unknown>): { name: string; value: string }[] {
  return Object.entries(progress).flatMap(([key, value]) => {
    const name = key.replaceAll('_', ' ')
    if (value === null || value === undefined) return []
    if (typeof value !== 'object') return [{ name, value: String(value) }]
    return Object.entries(value).map(([reason, count]) => ({
      name: `${name}: ${reason}`,
      value: String(count),
    }))
  })
}

/** A run in one line: `Run 7, Clusters and regression on ashare`. */
export function taskName(task: Task): string {
  return `Run ${task.id}, ${task.title}${task.feed ? ` on ${task.feed}` : ''}`
}
