import type { EChartsCoreOption } from 'echarts/core'
import { type ChartTheme, clusterColor } from './palette'

export interface ClusterSize {
  id: number
  size: number
}

/** Return the ring of cluster sizes; the names stand beside it on the page. */
export function sizesOption(sizes: readonly ClusterSize[], theme: ChartTheme): EChartsCoreOption {
  return {
    animationDuration: 200,
    tooltip: {
      trigger: 'item',
      confine: true,
      backgroundColor: theme.surface,
      borderColor: theme.line,
      textStyle: { color: theme.text, fontSize: 12 },
      formatter: '{b}: {c} stocks ({d} %)',
    },
    series: [
      {
        type: 'pie',
        radius: ['66%', '94%'],
        label: { show: false },
        itemStyle: { borderColor: theme.surface, borderWidth: 2, borderRadius: 3 },
        emphasis: { scaleSize: 3 },
        data: sizes.map(({ id, size }) => ({
          name: `Cluster ${id}`,
          value: size,
          itemStyle: { color: clusterColor(id) },
        })),
      },
    ],
  }
}
