import { ref, watch } from 'vue'
import { api } from '@/api'

/** The names of the codes that `shown` returns, as far as they are known: each code is asked for once. */
export function useNames(shown: () => { calendar: string; codes: string[] }) {
  const names = ref<Record<string, string>>({})
  let asked = new Set<string>()
  let market = ''

  async function look(calendar: string, codes: string[]): Promise<void> {
    if (calendar !== market) {
      market = calendar
      asked = new Set()
      names.value = {}
    }
    const unknown = codes.filter((code) => !asked.has(code))
    if (!calendar || !unknown.length) return
    for (const code of unknown) asked.add(code)
    try {
      const found = await api.instruments(calendar, unknown)
      if (calendar !== market) return
      names.value = { ...names.value, ...Object.fromEntries(found.map(({ code, name }) => [code, name])) }
    } catch {
      // A name is a comfort: without it the code stands alone, and is asked for when it is shown again.
      if (calendar === market) for (const code of unknown) asked.delete(code)
    }
  }

  watch(
    () => JSON.stringify(shown()),
    () => {
      const { calendar, codes } = shown()
      void look(calendar, codes)
    },
    { immediate: true },
  )
  return names
}
