import type { EChartsCoreOption } from 'echarts/core'
import * as format from '@/lib/format'
import { wallClock } from '@/lib/zone'
import type { Point } from '@/live/series'
import type { ChartTheme } from './palette'

export type Measure = 'index' | 'price' | 'difference'

/** One point of a line: wall clock in the feed's zone, value or gap, whether it is only the last price again. */
export type XY = [time: number, value: number | null, fallback?: boolean]

const BP = 10_000

function real(point: Point, measure: Measure): number | null {
  return measure === 'price' ? point.price : point.index
}

function predicted(point: Point, measure: Measure): number | null {
  return measure === 'price' ? point.predictedPrice : point.predictedIndex
}

/** A missing snapshot is a gap too: break the line where more than one interval lies between two points. */
function broken(line: XY[], stepMs: number): XY[] {
  const out: XY[] = []
  line.forEach((xy, at) => {
    const before = line[at - 1]
    if (before && xy[0] - before[0] > 1.5 * stepMs) out.push([before[0] + stepMs, null])
    out.push(xy)
  })
  return out
}

function stepOf(points: readonly Point[]): number {
  const last = points.at(-1)
  return last ? Math.max(1, last.target - last.time) : 1
}

export function realLine(points: readonly Point[], measure: Measure, zone: string): XY[] {
  return broken(
    points.map((point) => [wallClock(point.time, zone), real(point, measure)]),
    stepOf(points),
  )
}

/** The prediction made at a point stands at the time it is for; where there is none, there is a gap. */
export function predictedLine(points: readonly Point[], measure: Measure, zone: string): XY[] {
  return broken(
    points.map((point) => [wallClock(point.target, zone), predicted(point, measure), point.fallback]),
    stepOf(points),
  )
}

function moved(value: number, bp: number): number {
  return value * Math.exp(bp / BP)
}

/** The median forecast, at the time it is for. */
export function medianLine(points: readonly Point[], measure: Measure, zone: string): XY[] {
  const line = points.map((point): XY => {
    const value = predicted(point, measure)
    const known = value !== null && point.medianBp !== null
    return [wallClock(point.target, zone), known ? moved(value, point.medianBp ?? 0) : null]
  })
  return broken(line, stepOf(points))
}

/** The 80 % band at the time it is for, as its lower edge and its height above that, which are drawn stacked. */
export function bandLines(
  points: readonly Point[],
  measure: Measure,
  zone: string,
): [low: XY[], height: XY[]] {
  const edges = points.map((point) => {
    const value = predicted(point, measure)
    const at = wallClock(point.target, zone)
    if (value === null || !point.bandBp) return { at, low: null, height: null }
    const [low, high] = point.bandBp.map((bp) => moved(value, bp)) as [number, number]
    return { at, low, height: high - low }
  })
  const step = stepOf(points)
  return [
    broken(
      edges.map(({ at, low }): XY => [at, low]),
      step,
    ),
    broken(
      edges.map(({ at, height }): XY => [at, height]),
      step,
    ),
  ]
}

/** Predicted minus real in bp, at the time the prediction was for; a gap where either is missing. */
export function differenceLine(points: readonly Point[], zone: string): XY[] {
  const byTarget = new Map(points.map((point) => [point.target, point]))
  const line = points.map((point): XY => {
    const made = byTarget.get(point.time)
    const forecast = made ? predicted(made, 'index') : null
    const truth = real(point, 'index')
    const known = forecast !== null && truth !== null && truth !== 0
    return [wallClock(point.time, zone), known ? (forecast / truth - 1) * BP : null, made?.fallback]
  })
  return broken(line, stepOf(points))
}

const BAND = 'Band'
const VALUE = { index: format.index, price: format.price, difference: format.bp }
/** Return how many decimals tell the ticks of an axis over this span apart. */
export function digitsOf(values: readonly (number | null)[]): number {
  const known = values.filter((value) => value !== null)
  const span = Math.max(...known) - Math.min(...known)
  if (!(span > 0)) return 2
  return Math.min(4, Math.max(1, Math.ceil(-Math.log10(span / 4))))
}

interface TooltipRow {
  value: XY
  seriesName: string
  color: string
}

function tooltip(measure: Measure) {
  return (rows: TooltipRow[]) => {
    const first = rows[0]
    if (!first) return ''
    const lines = rows
      .filter((row) => row.value[1] !== null && !row.seriesName.startsWith(BAND))
      .map(({ value, seriesName, color }) => {
        const note = value[2] ? ' <i>last price</i>' : ''
        return `<span class="tip-key" style="background:${color}"></span>${seriesName}<b>${VALUE[measure](value[1])}</b>${note}`
      })
    const [low, height] = rows.filter((row) => row.seriesName.startsWith(BAND)).map((row) => row.value[1])
    if (typeof low === 'number' && typeof height === 'number')
      lines.push(
        `<span class="tip-key"></span>80 % band<b>${VALUE[measure](low)} – ${VALUE[measure](low + height)}</b>`,
      )
    return `<div class="tip"><em>${format.clock(first.value[0], 'UTC')}</em>${lines.join('<br>')}</div>`
  }
}

function axes(measure: Measure, theme: ChartTheme, digits: number) {
  const tick = (value: number) => (measure === 'difference' ? format.bp(value) : format.fixed(value, digits))
  const label = { color: theme.muted, fontSize: 11, hideOverlap: true }
  return {
    xAxis: {
      type: 'time',
      axisLine: { lineStyle: { color: theme.line } },
      axisTick: { show: false },
      splitLine: { show: false },
      splitNumber: 4,
      axisLabel: { ...label, formatter: (ms: number) => format.clock(ms, 'UTC').slice(0, 8) },
    },
    yAxis: {
      type: 'value',
      scale: true,
      position: 'right',
      splitNumber: 3,
      axisLine: { show: false },
      axisTick: { show: false },
      splitLine: { lineStyle: { color: theme.line } },
      axisLabel: { ...label, formatter: tick },
    },
  }
}

function line(name: string, data: XY[], color: string) {
  return {
    type: 'line',
    name,
    data,
    color,
    showSymbol: false,
    symbolSize: 5,
    connectNulls: false,
    lineStyle: { width: 1.8, color },
    emphasis: { disabled: true },
    z: 2,
  }
}

/** Hollow dots where the guard fell back on the last price, and a full one at the newest prediction. */
function dots(theme: ChartTheme, newest: number) {
  return {
    showSymbol: true,
    symbol: ([, value, fallback]: XY, { dataIndex }: { dataIndex: number }) => {
      if (value === null) return 'none'
      if (fallback) return 'emptyCircle'
      return dataIndex === newest ? 'circle' : 'none'
    },
    symbolSize: 4,
    itemStyle: { color: theme.muted, borderWidth: 1 },
  }
}

function differenceSeries(points: readonly Point[], zone: string, color: string, theme: ChartTheme) {
  const difference = differenceLine(points, zone)
  return [
    {
      ...line('Predicted − real', difference, color),
      lineStyle: { width: 1.2, color },
      areaStyle: { color, opacity: 0.12, origin: 0 },
      ...dots(theme, difference.length - 1),
      markLine: {
        silent: true,
        symbol: 'none',
        label: { show: false },
        lineStyle: { color: theme.muted, type: 'solid', width: 1 },
        data: [{ yAxis: 0 }],
      },
    },
  ]
}

/** The band is an area between two lines that are not drawn themselves. */
function bandSeries(points: readonly Point[], measure: Measure, zone: string, theme: ChartTheme) {
  return bandLines(points, measure, zone).map((data, at) => ({
    ...line(`${BAND} ${at}`, data, theme.predicted),
    lineStyle: { width: 0 },
    areaStyle: { color: theme.predicted, opacity: at ? 0.09 : 0 },
    stack: BAND,
    stackStrategy: 'all',
    z: 1,
  }))
}

/** The real line; where something was predicted, that too. */
function priceSeries(
  points: readonly Point[],
  measure: Measure,
  zone: string,
  color: string,
  theme: ChartTheme,
) {
  const truth = line('Real', realLine(points, measure, zone), color)
  if (points.every((point) => predicted(point, measure) === null)) return [truth]
  const predictions = predictedLine(points, measure, zone)
  return [
    ...bandSeries(points, measure, zone, theme),
    {
      ...line('Median', medianLine(points, measure, zone), theme.muted),
      lineStyle: { width: 1, type: [1, 3], color: theme.muted },
    },
    truth,
    {
      ...line('Predicted', predictions, theme.predicted),
      lineStyle: { width: 1.2, type: [4, 3], color: theme.predicted, opacity: 0.8 },
      ...dots(theme, predictions.length - 1),
      z: 3,
    },
  ]
}

/** Return the chart of one cluster: what was real against what had been predicted, in the feed's time zone. */
export function clusterOption(
  points: readonly Point[],
  measure: Measure,
  zone: string,
  color: string,
  theme: ChartTheme,
): EChartsCoreOption {
  return {
    useUTC: true,
    animation: false,
    grid: { left: 4, right: 4, top: 8, bottom: 2, outerBoundsMode: 'same', outerBoundsContain: 'axisLabel' },
    tooltip: {
      trigger: 'axis',
      confine: true,
      backgroundColor: theme.surface,
      borderColor: theme.line,
      textStyle: { color: theme.text, fontSize: 12 },
      axisPointer: { lineStyle: { color: theme.muted } },
      formatter: tooltip(measure),
    },
    ...axes(measure, theme, digitsOf(points.map((point) => real(point, measure)))),
    series:
      measure === 'difference'
        ? differenceSeries(points, zone, color, theme)
        : priceSeries(points, measure, zone, color, theme),
  }
}
