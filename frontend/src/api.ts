import type { JsonSchema } from './lib/schemaForm'
import type { Item, Kind, Numbers, Task } from './live/messages'

export interface User {
  name: string
  role: 'viewer' | 'operator' | 'admin'
}

export interface Session {
  user: User | null
  version: string
}

export interface Processor {
  name: string
  kind: Kind
  title: string
  description: string
  schema: JsonSchema
  enabled: boolean
  checked_at: string
  /** Of the code that the last check found good. */
  code_hash: string
}

export interface LastReload {
  at: string
  who: string
  outcome: 'done' | 'failed'
  /** The processors' names, or what was broken and where. */
  details: string
}

export interface Feed extends FeedSpec {
  simulated: boolean
  keep_raw: boolean
  processor: string
  params: Record<string, unknown>
  live_task: number | null
  last: {
    seq: number
    time: number
    received: number
    expected: number
    session: string
    run: number
  } | null
}

/** What a code stands for; null is what nobody told. */
export interface Instrument {
  code: string
  name: string
  calendar: string
  sector: string
  tick_size: number | null
  lot_size: number | null
  listed: string | null
  delisted: string | null
}

export type FeedState =
  | 'off'
  | 'starting'
  | 'disconnected'
  | 'closed'
  | 'waiting'
  | 'stale'
  | 'partial'
  | 'good'

export interface Health {
  feed: string
  state: FeedState
  /** In a sentence; empty where all is well. */
  why: string
  task: number | null
  /** Of the newest snapshot, ms UTC. */
  last_time: number | null
  age_s: number | null
  delay_s: number | null
  session: string
  received: number
  expected: number
  snapshots: number
  rows: number
  rejected: Record<string, number>
  noted: Record<string, number>
  samples: Record<string, string[]>
  late: number
  duplicates: number
  gaps: number
  sources: { name: string; state: string; active: boolean; error: string }[]
  budget: Record<string, unknown> | null
  opens_at: number | null
}

/** What is in a file that somebody brought; `mapping` is field → column. */
export interface Look {
  id: string
  name: string
  size: number
  columns: string[]
  rows: string[][]
  mapping: Record<string, string>
  required: string[]
  optional: string[]
  inferred: Partial<FeedSpec>
  said: string[]
  error: string
}

export interface FeedSpec {
  name: string
  title: string
  zone: string
  calendar: string
  interval_ms: number
  volume_unit: string
  volume_mode: string
  type_meaning: string
}

export interface FeedBody extends Partial<FeedSpec> {
  processor: string
  params: Record<string, unknown>
  simulated: boolean
  keep_raw: boolean
}

export interface Replay {
  mapping: Record<string, string>
  spec: Partial<FeedSpec>
  pace: number
  loop: boolean
}

export interface Page<T> {
  count: number
  next: string | null
  previous: string | null
  results: T[]
}

export interface TaskEvent {
  at: string
  attempt: number
  /** `move`, or what was asked for without moving anything. */
  kind: string
  from: string
  to: string
  actor: string
  reason: string
  details: Record<string, unknown>
}

export interface Log {
  attempt: number
  attempts: number[]
  size: number
  truncated: boolean
  text: string
}

export interface Token {
  name: string
  created: string
  expiry: string
  last_used_at: string | null
}

export interface AuditRecord {
  id: number
  at: string
  who: string
  ip: string | null
  through: string
  action: string
  target: string
  outcome: 'done' | 'refused' | 'failed'
  details: string
}

export interface ScheduleRun {
  due_at: string
  at: string
  outcome: 'done' | 'needless' | 'refused' | 'missed'
  detail: string
}

export interface ScheduleBody {
  task: number
  action: 'start' | 'stop'
  enabled: boolean
  by: 'clock' | 'session'
  /** Time of day, of a schedule by the clock. */
  at: string | null
  /** 0 is Monday. */
  weekdays: number[]
  zone: string
  calendar: string
  moment: 'open' | 'lunch' | 'resume' | 'close' | ''
  offset_min: number
}

export interface Schedule extends ScheduleBody {
  id: number
  next_due: string | null
  last_run: ScheduleRun | null
  /** Due times of the last week at which the platform was down. */
  missed: number
}

interface Problem {
  title?: string
  status?: number
  detail?: string
  errors?: Record<string, string[]>
}

/** What the server, or the way to it, said against a call: `message` for people, `errors` by field. */
export class ApiError extends Error {
  readonly status: number
  readonly errors: Record<string, string[]>

  constructor(status: number, problem: Problem) {
    super(problem.detail || problem.title || `The server answered ${status}.`)
    this.status = status
    this.errors = problem.errors ?? {}
  }
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function csrfToken(): string {
  return /(?:^|;\s*)csrftoken=([^;]+)/.exec(document.cookie)?.[1] ?? ''
}

async function problemOf(response: Response): Promise<Problem> {
  try {
    return (await response.json()) as Problem
  } catch {
    return { title: `The server answered ${response.status} ${response.statusText}`.trim() }
  }
}

async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  const headers: Record<string, string> = { Accept: 'application/json' }
  if (method !== 'GET') headers['X-CSRFToken'] = csrfToken()
  const raw = body instanceof Blob
  if (body !== undefined) headers['Content-Type'] = raw ? 'application/octet-stream' : 'application/json'
  const response = await fetch(`/api/${path}`, {
    method,
    headers,
    credentials: 'same-origin',
    body: raw ? body : body === undefined ? undefined : JSON.stringify(body),
  }).catch(() => {
    throw new ApiError(0, { detail: 'The server can’t be reached.' })
  })
  if (!response.ok) throw new ApiError(response.status, await problemOf(response))
  const text = await response.text()
  return (text ? JSON.parse(text) : undefined) as T
}

function query(values: Record<string, string | number | undefined>): string {
  const set = Object.entries(values).filter(([, value]) => value !== undefined && value !== '')
  return new URLSearchParams(set.map(([key, value]) => [key, String(value)])).toString()
}

export interface TaskFilter {
  kind?: string
  status?: string
  feed?: string
  processor?: string
  search?: string
  order?: string
  page?: number
}

export interface AuditFilter {
  search?: string
  who?: string
  action?: string
  outcome?: string
  page?: number
}

export interface HistoryFeed {
  name: string
  title: string
  zone: string
  interval_ms: number
  days: number
  first: number | null
  last: number | null
  snapshots: number
  rows: number
  size_bytes: number
}

export interface HistoryDay {
  day: string
  snapshots: number
  rows: number
  expected: number
  first: number
  last: number
  size_bytes: number
  compacted: boolean
  /** Rows of those that would be there, had every stock had news in every snapshot. */
  complete: number | null
}

export interface HistoryPage {
  columns: string[]
  rows: unknown[][]
  next: number | null
}

/** Snapshots with start ≤ time < end, ms UTC. */
export interface HistoryRange {
  start: number
  end: number
  codes?: string
  columns?: string
  every?: string
  limit?: number
  as?: string
}

/** What is kept of a task's results on a day of UTC. */
export interface KeptDay {
  day: string
  results: number
  first: number
  last: number
  size_bytes: number
}

export interface KeptPage {
  results: { seq: number; numbers: Numbers }[]
  next: number | null
}

export interface NewRun {
  processor: string
  feed: string | null
  params: Record<string, unknown>
  start: boolean
  /** Heap of its JVM; that of the platform's settings when null. */
  memory_mb?: number | null
  /** What follows when its process or worker dies. */
  on_loss?: Task['on_loss']
  /** Whether its results are kept, to be looked at later. */
  keep?: boolean
}

export const api = {
  session: () => call<Session>('GET', 'session'),
  login: (username: string, password: string) => call<Session>('POST', 'session', { username, password }),
  logout: () => call<void>('DELETE', 'session'),
  processors: () => call<Processor[]>('GET', 'processors'),
  feeds: () => call<Feed[]>('GET', 'feeds'),
  createFeed: (body: FeedBody) => call<Feed>('POST', 'feeds', body),
  changeFeed: (name: string, body: FeedBody) =>
    call<Feed>('PATCH', `feeds/${encodeURIComponent(name)}`, body),
  deleteFeed: (name: string) => call<void>('DELETE', `feeds/${encodeURIComponent(name)}`),
  health: (feed: string) => call<Health>('GET', `feeds/${encodeURIComponent(feed)}/health`),
  instruments: (calendar: string, codes: string[]) =>
    call<Page<Instrument>>(
      'GET',
      `instruments?${query({ calendar, codes: codes.join(','), page_size: codes.length })}`,
    ).then((page) => page.results),
  upload: (file: File) => call<Look>('POST', `uploads?${query({ name: file.name })}`, file),
  look: (id: string, mapping: Record<string, string>) =>
    call<Look>('POST', `uploads/${id}/look`, { mapping }),
  replay: (id: string, body: Replay) => call<Task>('POST', `uploads/${id}/replay`, body),
  tasks: (filter: TaskFilter) => call<Page<Task>>('GET', `tasks?${query({ ...filter })}`),
  task: (id: number) => call<Task>('GET', `tasks/${id}`),
  create: (run: NewRun) => call<Task>('POST', 'tasks', run),
  start: (id: number) => call<Task>('POST', `tasks/${id}/start`, {}),
  stop: (id: number, reason?: string) => call<Task>('POST', `tasks/${id}/stop`, reason ? { reason } : {}),
  retry: (id: number, fresh: boolean) => call<Task>('POST', `tasks/${id}/retry`, { fresh }),
  setLive: (id: number, name: string, value: unknown) =>
    call<unknown>('POST', `tasks/${id}/live`, { name, value }),
  events: (id: number) =>
    call<Page<TaskEvent>>('GET', `tasks/${id}/events?page_size=500`).then((page) => page.results),
  log: (id: number, attempt: number, tail: number) =>
    call<Log>('GET', `tasks/${id}/log?${query({ attempt, tail })}`),
  logUrl: (id: number, attempt: number) => `/api/tasks/${id}/log?${query({ attempt, download: 1 })}`,
  result: (id: number) => call<Item>('GET', `tasks/${id}/result`),
  lastReload: () => call<LastReload | null>('GET', 'processors/reload'),
  reloadProcessors: () => call<{ processors: string[] }>('POST', 'processors/reload', {}),
  tokens: () => call<Token[]>('GET', 'tokens'),
  makeToken: (name: string, days: number) =>
    call<Token & { token: string }>('POST', 'tokens', { name, days }),
  revokeToken: (name: string) => call<void>('DELETE', `tokens/${encodeURIComponent(name)}`),
  schedules: (page: number) => call<Page<Schedule>>('GET', `schedules?${query({ page })}`),
  createSchedule: (body: ScheduleBody) => call<Schedule>('POST', 'schedules', body),
  changeSchedule: (id: number, body: Partial<ScheduleBody>) =>
    call<Schedule>('PATCH', `schedules/${id}`, body),
  deleteSchedule: (id: number) => call<void>('DELETE', `schedules/${id}`),
  scheduleRuns: (id: number) => call<Page<ScheduleRun>>('GET', `schedules/${id}/runs`),
  history: () => call<HistoryFeed[]>('GET', 'history/feeds'),
  historyDays: (feed: string) => call<HistoryDay[]>('GET', `history/feeds/${feed}/days`),
  historyRows: (feed: string, range: HistoryRange) =>
    call<HistoryPage>('GET', `history/feeds/${feed}/rows?${query({ ...range })}`),
  historyBars: (feed: string, range: HistoryRange) =>
    call<HistoryPage>('GET', `history/feeds/${feed}/bars?${query({ ...range })}`),
  historyUrl: (feed: string, range: HistoryRange) => `/api/history/feeds/${feed}/rows?${query({ ...range })}`,
  keptDays: (task: number) => call<KeptDay[]>('GET', `tasks/${task}/kept/days`),
  kept: (task: number, range: { start: number; end: number; limit: number }) =>
    call<KeptPage>('GET', `tasks/${task}/kept?${query(range)}`),
  keptUrl: (task: number, range: { start: number; end: number; as: string }) =>
    `/api/tasks/${task}/kept?${query(range)}`,
  audit: (filter: AuditFilter) => call<Page<AuditRecord>>('GET', `audit?${query({ ...filter })}`),
}
