const QUARTER_MS = 900_000
const formats = new Map<string, Intl.DateTimeFormat>()
const offsets = new Map<string, number>()

function formatOf(zone: string): Intl.DateTimeFormat {
  const known = formats.get(zone)
  if (known) return known
  const made = new Intl.DateTimeFormat('en-US', {
    timeZone: zone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  })
  formats.set(zone, made)
  return made
}

function computed(ms: number, zone: string): number {
  const parts = Object.fromEntries(
    formatOf(zone)
      .formatToParts(ms)
      .map(({ type, value }) => [type, Number(value)]),
  ) as Record<string, number>
  const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = parts
  return Date.UTC(year, month - 1, day, hour, minute, second) - Math.floor(ms / 1000) * 1000
}

/** Return what has to be added to UTC to get the zone's wall clock, in ms. No zone changes within a quarter hour. */
export function offsetMs(ms: number, zone: string): number {
  const quarter = Math.floor(ms / QUARTER_MS)
  const key = `${zone}${quarter}`
  const known = offsets.get(key)
  if (known !== undefined) return known
  const offset = computed(quarter * QUARTER_MS, zone)
  offsets.set(key, offset)
  return offset
}

/** Return the zone's wall clock as if it were UTC: ECharts knows only UTC and the browser's zone. */
export const wallClock = (ms: number, zone: string) => ms + offsetMs(ms, zone)
