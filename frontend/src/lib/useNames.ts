import { ref, watch } from 'vue'
import { api } from '@/api'

/** Tell the names of the codes that `shown` returns, as far as they are known: each code of a market is asked for once. */
export function useNames(shown: () => { calendar: string; codes: string[] }) {
  const known = ref<Record<string, string>>({})
  const asked = new Set<string>()

  async function look(calendar: string, codes: string[]): Promise<void> {
    const unknown = codes.filter((code) => !asked.has(`${calendar} ${code}`))
    if (!calendar || !unknown.length) return
    const keys = unknown.map((code) => `${calendar} ${code}`)
    for (const key of keys) asked.add(key)
    try {
      const found = await api.instruments(calendar, unknown)
      const names = Object.fromEntries(found.map(({ code, name }) => [`${calendar} ${code}`, name]))
      known.value = { ...known.value, ...names }
    } catch {
      // A name is a comfort: without it the code stands alone, and is asked for again when others are.
      for (const key of keys) asked.delete(key)
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
  return (code: string): string | undefined => known.value[`${shown().calendar} ${code}`]
}
