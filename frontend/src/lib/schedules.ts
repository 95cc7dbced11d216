import type { Schedule, ScheduleBody } from '@/api'

export const DAYS = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'] as const
const WORKDAYS = [0, 1, 2, 3, 4]
const ALL_DAYS = [...WORKDAYS, 5, 6]

export const MOMENTS: Record<Exclude<Schedule['moment'], ''>, string> = {
  open: 'Opening',
  lunch: 'Lunch begins',
  resume: 'Lunch ends',
  close: 'Closing',
}

const same = (days: readonly number[], others: readonly number[]) =>
  days.length === others.length && others.every((day) => days.includes(day))

export function daysText(days: readonly number[]): string {
  if (same(days, ALL_DAYS)) return 'every day'
  if (same(days, WORKDAYS)) return 'Mon to Fri'
  return [...days]
    .sort((a, b) => a - b)
    .map((day) => DAYS[day])
    .join(', ')
}

/** Say when a schedule acts: `09:15 Asia/Shanghai, Mon to Fri`; `10 min before the opening of XSHG`. */
export function whenText(
  schedule: Pick<Schedule, 'by' | 'at' | 'weekdays' | 'zone' | 'calendar' | 'moment' | 'offset_min'>,
): string {
  if (schedule.by === 'clock')
    return `${schedule.at?.slice(0, 5) ?? '–'} ${schedule.zone}, ${daysText(schedule.weekdays)}`
  const { offset_min: offset, calendar } = schedule
  const moment = {
    open: 'the opening',
    lunch: 'the lunch break',
    resume: 'the end of the lunch break',
    close: 'the closing',
  }
  const at = schedule.moment ? moment[schedule.moment] : '–'
  if (!offset) return `at ${at} of ${calendar}`
  return `${Math.abs(offset)} min ${offset < 0 ? 'before' : 'after'} ${at} of ${calendar}`
}

/** What the form of a schedule holds; both kinds of rule stand in it, so that a change of mind loses nothing. */
export type Draft = Omit<ScheduleBody, 'task'> & { task: number | null }

export function emptyDraft(task: number | null, calendar: string, zone: string): Draft {
  return {
    task,
    action: 'start',
    enabled: true,
    by: 'session',
    at: '09:00',
    weekdays: [...WORKDAYS],
    zone,
    calendar,
    moment: 'open',
    offset_min: -10,
  }
}

export function draftOf(schedule: Schedule, calendar: string, zone: string): Draft {
  const { task, action, enabled, by, weekdays, offset_min } = schedule
  return {
    ...{ task, action, enabled, by, weekdays, offset_min },
    at: schedule.at?.slice(0, 5) ?? '09:00',
    zone: schedule.zone || zone,
    calendar: schedule.calendar || calendar,
    moment: schedule.moment || 'open',
  }
}

/** Say what is missing, by field. */
export function draftErrors(draft: Draft): Record<string, string> {
  const errors: Record<string, string> = {}
  if (draft.task === null) errors.task = 'Choose a run.'
  if (draft.by === 'clock') {
    if (!/^\d\d:\d\d/.test(draft.at ?? '')) errors.at = 'Enter a time of day.'
    if (!draft.weekdays.length) errors.weekdays = 'Choose at least one day.'
  } else if (!draft.calendar.trim()) errors.calendar = 'Enter an exchange, such as XSHG.'
  return errors
}

/** Return what is sent for a draft; null when something is missing. */
export function bodyOf(draft: Draft): ScheduleBody | null {
  const { task } = draft
  if (task === null || Object.keys(draftErrors(draft)).length) return null
  return {
    ...draft,
    task,
    weekdays: [...draft.weekdays].sort((a, b) => a - b),
    calendar: draft.calendar.trim(),
  }
}
