import type { TaskEvent } from '@/api'
import { statusTitle, type Tone, toneOf } from './tasks'

const TITLES: Record<string, string> = {
  created: 'Created',
  start: 'Start asked for',
  stop: 'Stop asked for',
  change: 'Change asked for',
  applied: 'Change applied',
}

/** Say in two or three words what happened. */
export function eventTitle({ kind, to }: TaskEvent): string {
  if (to) return kind === 'move' && to === 'Initial' ? 'New attempt' : statusTitle(to)
  return TITLES[kind] ?? statusTitle(kind.replaceAll('_', ' '))
}

export function eventTone({ to }: TaskEvent): Tone {
  return to ? toneOf(to) : 'calm'
}

/** An event's details as text: `k 5, index 57`. */
export function eventDetails({ details }: TaskEvent): string {
  return Object.entries(details)
    .map(
      ([name, value]) =>
        `${name.replaceAll('_', ' ')} ${typeof value === 'string' ? value : JSON.stringify(value)}`,
    )
    .join(', ')
}
