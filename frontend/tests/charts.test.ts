import { describe, expect, it } from 'vitest'
import { barsOf, barsOption } from '@/charts/barsOption'
import {
  bandLines,
  clusterOption,
  differenceLine,
  digitsOf,
  medianLine,
  predictedLine,
  realLine,
} from '@/charts/clusterOption'
import { clusterColor, DARK, LIGHT } from '@/charts/palette'
import { sizesOption } from '@/charts/sizesOption'
import { wallClock } from '@/lib/zone'
import type { Point } from '@/live/series'

const ZONE = 'Asia/Shanghai'
const T0 = 1638322200000
const STEP = 3000

function point(at: number, more: Partial<Point> = {}): Point {
  const time = T0 + at * STEP
  return {
    time,
    target: time + STEP,
    price: 20 + at,
    index: 100 + at,
    predictedPrice: 20.5 + at,
    predictedIndex: 100.5 + at,
    medianBp: -10,
    bandBp: [-20, 30],
    fallback: false,
    ...more,
  }
}

describe('the lines of a cluster', () => {
  it('put a prediction at the time it is for', () => {
    const [real] = realLine([point(0)], 'index', ZONE)
    const [predicted] = predictedLine([point(0)], 'index', ZONE)
    expect(real).toEqual([wallClock(T0, ZONE), 100])
    expect(predicted).toEqual([wallClock(T0 + STEP, ZONE), 100.5, false])
  })

  it('leave a missing prediction a gap', () => {
    const points = [point(0), point(1, { predictedIndex: null }), point(2)]
    expect(predictedLine(points, 'index', ZONE).map(([, value]) => value)).toEqual([100.5, null, 102.5])
  })

  it('draw median and band around the prediction, at the time they are for', () => {
    const at = wallClock(T0 + STEP, ZONE)
    const [median] = medianLine([point(0)], 'index', ZONE)
    expect(median?.[0]).toBe(at)
    expect(median?.[1]).toBeCloseTo(100.5 * Math.exp(-0.001), 8)
    const [[low], [height]] = bandLines([point(0)], 'index', ZONE) as [[number, number][], [number, number][]]
    expect(low?.[1]).toBeCloseTo(100.5 * Math.exp(-0.002), 8)
    expect((low?.[1] ?? 0) + (height?.[1] ?? 0)).toBeCloseTo(100.5 * Math.exp(0.003), 8)
  })

  it('leave a gap where there is no band', () => {
    const lines = bandLines([point(0), point(1, { bandBp: null })], 'index', ZONE)
    expect(lines.map((line) => line[1]?.[1])).toEqual([null, null])
  })

  it('break where a snapshot is missing', () => {
    const values = realLine([point(0), point(1), point(4)], 'price', ZONE).map(([, value]) => value)
    expect(values).toEqual([20, 21, null, 24])
  })

  it('tell the difference in bp only where prediction and truth met', () => {
    const points = [point(0, { predictedIndex: 101.0101 }), point(1, { predictedIndex: null }), point(2)]
    const [first, second, third] = differenceLine(points, ZONE).map(([, value]) => value)
    expect(first).toBeNull()
    expect(second).toBeCloseTo(1.0, 3)
    expect(third).toBeNull()
  })

  it('never connect over a gap, and mark a fallback', () => {
    const option = clusterOption([point(0, { fallback: true })], 'index', ZONE, '#000', LIGHT)
    const series = option.series as {
      name: string
      connectNulls: boolean
      symbol?: (value: unknown, at: { dataIndex: number }) => string
    }[]
    expect(series.every(({ connectNulls }) => connectNulls === false)).toBe(true)
    const symbol = (value: unknown, dataIndex: number) =>
      series.find(({ name }) => name === 'Predicted')?.symbol?.(value, { dataIndex })
    expect(symbol([0, 100, true], 5)).toBe('emptyCircle')
    expect(symbol([0, 100, false], 5)).toBe('none')
    expect(symbol([0, 100, false], 0)).toBe('circle')
    expect(symbol([0, null, true], 0)).toBe('none')
  })

  it('label the axis finely enough to tell its ticks apart', () => {
    expect(digitsOf([99.98, 100.01, null])).toBe(3)
    expect(digitsOf([99.5, 100.5])).toBe(1)
    expect(digitsOf([100])).toBe(2)
    expect(digitsOf([])).toBe(2)
  })

  it('draw their axis in the feed’s zone, whatever the browser’s', () => {
    const option = clusterOption([point(0)], 'index', ZONE, '#000', DARK)
    const axis = option.xAxis as { axisLabel: { formatter: (ms: number) => string } }
    expect(option.useUTC).toBe(true)
    expect(axis.axisLabel.formatter(wallClock(T0, ZONE))).toBe('09:30:00')
  })
})

it('follows a zone over a change of its clock', () => {
  const before = Date.UTC(2021, 10, 7, 5, 59)
  expect(wallClock(before, 'America/New_York') - before).toBe(-4 * 3_600_000)
  const after = Date.UTC(2021, 10, 7, 6, 1)
  expect(wallClock(after, 'America/New_York') - after).toBe(-5 * 3_600_000)
})

it('gives a cluster one colour everywhere', () => {
  const [ring] = sizesOption([{ id: 3, size: 8 }], LIGHT).series as {
    data: { itemStyle: { color: string } }[]
  }[]
  expect(ring?.data[0]?.itemStyle.color).toBe(clusterColor(3))
  expect(clusterColor(3)).not.toBe(clusterColor(4))
  expect(clusterColor(0)).toMatch(/^#/)
})

describe('bars', () => {
  const columns = ['begin', 'end', 'code', 'open', 'high', 'low', 'close', 'volume', 'amount', 'rows']
  const rows = [
    [T0, T0 + 60_000, '600000', 8.5, 8.6, 8.4, 8.55, 1200, 10_260, 20],
    [T0 + 60_000, T0 + 120_000, '600000', 8.55, 8.55, 8.3, 8.31, 900, 7_500, 19],
  ]

  it('are named by the columns of their page', () => {
    expect(barsOf(columns, rows)[1]).toMatchObject({ open: 8.55, low: 8.3, close: 8.31, volume: 900 })
  })

  it('stand at their end on the market’s clock, as open, close, low, high', () => {
    const option = barsOption(barsOf(columns, rows), ZONE, LIGHT) as {
      xAxis: { data: string[] }[]
      series: { data: unknown[] }[]
    }
    expect(option.xAxis[0]?.data).toEqual(['09:31', '09:32'])
    expect(option.series[0]?.data[0]).toEqual([8.5, 8.55, 8.4, 8.6])
    expect(option.series[1]?.data).toHaveLength(2)
  })

  it('are told their day where they are of several', () => {
    const bars = barsOf(columns, rows).map((bar, at) => ({ ...bar, end: bar.end + at * 86_400_000 }))
    const option = barsOption(bars, ZONE, LIGHT) as { xAxis: { data: string[] }[] }
    expect(option.xAxis[0]?.data).toEqual(['12-01 09:31', '12-02 09:32'])
  })
})
