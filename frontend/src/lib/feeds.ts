import type { FeedState, Health } from '@/api'
import { duration, integer, localTime, NONE } from './format'

/** How each state of a feed is called and coloured. A market that is closed is no trouble. */
export const STATES: Record<FeedState, { title: string; tone: string }> = {
  off: { title: 'Off', tone: '' },
  starting: { title: 'Starting', tone: 'busy' },
  disconnected: { title: 'Disconnected', tone: 'bad' },
  closed: { title: 'Market closed', tone: '' },
  waiting: { title: 'Waits for readers', tone: '' },
  stale: { title: 'Stale', tone: 'bad' },
  partial: { title: 'Partial', tone: 'warn' },
  good: { title: 'Good', tone: 'good' },
}

const ms = (seconds: number | null) => (seconds === null ? null : seconds * 1000)
const at = (time: number | null) => (time === null ? NONE : localTime(new Date(time).toISOString()))

/** The numbers behind a feed's state, as lines. */
export function healthFacts(health: Health): { name: string; value: string }[] {
  return [
    { name: 'Newest snapshot', value: at(health.last_time) },
    { name: 'Published', value: health.age_s === null ? NONE : `${duration(ms(health.age_s))} ago` },
    { name: 'Delay', value: duration(ms(health.delay_s)) },
    { name: 'Session', value: health.session || NONE },
    { name: 'Stocks', value: `${integer(health.received)} of ${integer(health.expected)}` },
    { name: 'Rows received', value: integer(health.rows) },
    { name: 'Snapshots', value: integer(health.snapshots) },
    { name: 'Late rows', value: integer(health.late) },
    { name: 'Duplicates', value: integer(health.duplicates) },
    { name: 'Gaps', value: integer(health.gaps) },
    ...(health.opens_at ? [{ name: 'Opens', value: at(health.opens_at) }] : []),
    ...Object.entries(health.budget ?? {}).map(([name, value]) => ({
      name: `Budget: ${name}`,
      value: String(value),
    })),
  ]
}

/** What was rejected or set aside, most frequent first, with its samples. */
export function troubles(
  health: Health,
): { reason: string; count: number; dropped: boolean; samples: string[] }[] {
  const rows = (counts: Record<string, number>, dropped: boolean) =>
    Object.entries(counts).map(([reason, count]) => ({
      reason,
      count,
      dropped,
      samples: health.samples[reason] ?? [],
    }))
  return [...rows(health.rejected, true), ...rows(health.noted, false)].sort((a, b) => b.count - a.count)
}

export const total = (counts: Record<string, number>) =>
  Object.values(counts).reduce((sum, count) => sum + count, 0)
