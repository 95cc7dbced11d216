import { computed, type Ref, ref } from 'vue'
import type { Measure } from '@/charts/clusterOption'
import type { Cluster } from '@/live/messages'
import { measuresOf, type Says } from './says'

/** What charts can show of clusters, and what they do show: what was chosen, as long as it can be shown. */
export function useMeasure(clusters: Ref<readonly Cluster[]>, says: Ref<Says>) {
  const chosen = ref<Measure>('index')
  const measures = computed(() => measuresOf(clusters.value, says.value))
  const measure = computed<Measure>({
    get: () =>
      (measures.value.find(({ value }) => value === chosen.value) ?? measures.value[0])?.value ?? 'price',
    set: (value) => {
      chosen.value = value
    },
  })
  return { measures, measure }
}
