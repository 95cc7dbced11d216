import { computed } from 'vue'
import { useRoute, useRouter } from 'vue-router'
import { isFiltered, type ListQuery, readQuery, writeQuery } from './listQuery'

/** The filter of a list lives in the page's address: it survives a reload and can be sent to somebody. */
export function useListQuery<Name extends string>(names: readonly Name[]) {
  const route = useRoute()
  const router = useRouter()
  const filter = computed(() => readQuery(route.query, names))
  const filtered = computed(() => isFiltered(filter.value))

  function set(changes: Partial<ListQuery<Name>>) {
    return router.replace({ query: writeQuery(route.query, changes) })
  }

  return { filter, filtered, set }
}
