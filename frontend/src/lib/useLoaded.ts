import { ref, shallowRef } from 'vue'
import { messageOf } from '@/api'

/** What a call of the API answered, asked again by `load`: an older answer never replaces a newer one. */
export function useLoaded<T>(call: () => Promise<T>) {
  const value = shallowRef<T | null>(null)
  const error = ref('')
  let asked = 0

  async function load(): Promise<void> {
    const ticket = ++asked
    try {
      const answer = await call()
      if (ticket !== asked) return
      value.value = answer
      error.value = ''
    } catch (problem) {
      if (ticket === asked) error.value = messageOf(problem)
    }
  }

  function clear(): void {
    asked++
    value.value = null
    error.value = ''
  }

  return { value, error, load, clear }
}
