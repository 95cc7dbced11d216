import type { EChartsCoreOption } from 'echarts/core'
import { compact } from '@/lib/format'
import { wallClock } from '@/lib/zone'
import type { ChartTheme } from './palette'

/** One bar as the API tells it; times in ms UTC. */
export interface Bar {
  begin: number
  end: number
  open: number
  high: number
  low: number
  close: number
  volume: number
}

const UP = '#e4576c'
const DOWN = '#14a38b'
const local = (ms: number, zone: string) =>
  new Date(wallClock(ms, zone)).toISOString().slice(0, 16).replace('T', ' ')

/** Return what bars are called on the axis: the time of day alone where all are of one day. */
function labels(bars: readonly Bar[], zone: string): string[] {
  const moments = bars.map(({ end }) => local(end, zone))
  const oneDay = moments[0]?.slice(0, 10) === moments.at(-1)?.slice(0, 10)
  return moments.map((moment) => moment.slice(oneDay ? 11 : 5))
}

/** Return the bars of a page's rows, by the names of its columns. */
export function barsOf(columns: readonly string[], rows: readonly (readonly unknown[])[]): Bar[] {
  return rows.map((row) => Object.fromEntries(columns.map((name, at) => [name, row[at]])) as unknown as Bar)
}

/** Return candles over volumes. A bar stands at its end; what is not traded, lunch for one, takes no room. */
export function barsOption(bars: readonly Bar[], zone: string, theme: ChartTheme): EChartsCoreOption {
  const color = ({ open, close }: Bar) => (close >= open ? UP : DOWN)
  const axis = {
    type: 'category',
    data: labels(bars, zone),
    axisLine: { lineStyle: { color: theme.line } },
    axisTick: { show: false },
  }
  const value = {
    type: 'value',
    scale: true,
    position: 'right',
    splitLine: { lineStyle: { color: theme.line } },
    axisLabel: { color: theme.muted },
  }
  return {
    animation: false,
    grid: [
      { left: 8, right: 64, top: 8, height: '68%', outerBoundsMode: 'none' },
      { left: 8, right: 64, top: '78%', bottom: 24, outerBoundsMode: 'none' },
    ],
    tooltip: {
      trigger: 'axis',
      confine: true,
      backgroundColor: theme.surface,
      borderColor: theme.line,
      textStyle: { color: theme.text, fontSize: 12 },
    },
    axisPointer: { link: [{ xAxisIndex: 'all' }] },
    xAxis: [
      { ...axis, gridIndex: 0, axisLabel: { show: false } },
      {
        ...axis,
        gridIndex: 1,
        axisLabel: { color: theme.muted, alignMinLabel: 'left', alignMaxLabel: 'right' },
      },
    ],
    yAxis: [
      { ...value, gridIndex: 0 },
      {
        ...value,
        gridIndex: 1,
        scale: false,
        splitNumber: 2,
        axisLabel: { color: theme.muted, formatter: compact },
      },
    ],
    series: [
      {
        type: 'candlestick',
        name: 'Price',
        data: bars.map(({ open, close, low, high }) => [open, close, low, high]),
        itemStyle: { color: UP, color0: DOWN, borderColor: UP, borderColor0: DOWN },
      },
      {
        type: 'bar',
        name: 'Volume',
        xAxisIndex: 1,
        yAxisIndex: 1,
        data: bars.map((bar) => ({ value: bar.volume, itemStyle: { color: color(bar), opacity: 0.6 } })),
      },
    ],
  }
}
