/** Every number and time on the pages goes through here, so that they look alike. */

export const NONE = '–'

type Maybe = number | null | undefined

function missing(value: Maybe): value is null | undefined {
  return value === null || value === undefined || !Number.isFinite(value)
}

const grouped = (digits: number) =>
  new Intl.NumberFormat('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })
const FORMATS = [0, 1, 2, 3, 4].map(grouped)

export function fixed(value: Maybe, digits: number): string {
  return missing(value) ? NONE : (FORMATS[digits] ?? grouped(digits)).format(value)
}

export const integer = (value: Maybe) => fixed(value, 0)

const SHORT = new Intl.NumberFormat('en-US', { notation: 'compact', maximumFractionDigits: 1 })

/** 15M, 2.5K: where there is room for little. */
export const compact = (value: Maybe) => (missing(value) ? NONE : SHORT.format(value))

/** Prices below 1 need more digits than prices of thousands. */
export function price(value: Maybe): string {
  if (missing(value)) return NONE
  const size = Math.abs(value)
  return fixed(value, size >= 1000 ? 2 : size >= 1 ? 3 : 4)
}

export const index = (value: Maybe) => fixed(value, 3)

function signed(value: number, text: string): string {
  const isZero = !/[1-9]/.test(text)
  if (isZero) return text.replace('-', '')
  return value > 0 ? `+${text}` : text.replace('-', '−')
}

/** Basis points with sign: +1.2, −0.4, 0.0. */
export function bp(value: Maybe): string {
  return missing(value) ? NONE : signed(value, fixed(value, 1))
}

export function duration(ms: Maybe): string {
  if (missing(ms)) return NONE
  if (ms < 1000) return `${fixed(ms, 0)} ms`
  if (ms < 60_000) return `${fixed(ms / 1000, ms % 1000 === 0 ? 0 : 1)} s`
  const minutes = Math.floor(ms / 60_000)
  if (minutes < 60) return inTwo(minutes, 'min', Math.floor((ms % 60_000) / 1000), 's')
  if (minutes < 1440) return inTwo(Math.floor(minutes / 60), 'h', minutes % 60, 'min')
  return inTwo(Math.floor(minutes / 1440), 'd', Math.floor((minutes % 1440) / 60), 'h')
}

const inTwo = (large: number, unit: string, small: number, finer: string): string =>
  small ? `${large} ${unit} ${small} ${finer}` : `${large} ${unit}`

const BYTE_UNITS = ['B', 'KB', 'MB', 'GB']

export function bytes(value: Maybe): string {
  if (missing(value)) return NONE
  const power = Math.min(BYTE_UNITS.length - 1, value < 1 ? 0 : Math.floor(Math.log(value) / Math.log(1024)))
  return `${fixed(value / 1024 ** power, power ? 1 : 0)} ${BYTE_UNITS[power]}`
}

function iso(ms: number, zone: string): { date: string; time: string } {
  const parts = new Intl.DateTimeFormat('en-CA', {
    timeZone: zone,
    dateStyle: 'short',
    timeStyle: 'medium',
    hourCycle: 'h23',
  }).formatToParts(ms)
  const get = (type: Intl.DateTimeFormatPartTypes) => parts.find((part) => part.type === type)?.value ?? ''
  return {
    date: `${get('year')}-${get('month')}-${get('day')}`,
    time: `${get('hour')}:${get('minute')}:${get('second')}`,
  }
}

export const clock = (ms: Maybe, zone: string) => (missing(ms) ? NONE : iso(ms, zone).time)

export function dateTime(ms: Maybe, zone: string): string {
  if (missing(ms)) return NONE
  const { date, time } = iso(ms, zone)
  return `${date} ${time}`
}

const HERE = Intl.DateTimeFormat().resolvedOptions().timeZone
const DAY_MS = 86_400_000

/** A time of the last day needs no date. */
export function recentTime(text: string | null | undefined, now = Date.now()): string {
  if (!text) return NONE
  const ms = Date.parse(text)
  return now - ms < DAY_MS ? clock(ms, HERE) : dateTime(ms, HERE).slice(0, -3)
}

/** What the platform did is told in the reader's own zone, unlike the market's times. */
export function localTime(text: string | null | undefined): string {
  return text ? dateTime(Date.parse(text), HERE) : NONE
}
