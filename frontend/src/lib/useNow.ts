import { onBeforeUnmount, ref } from 'vue'

/** The present, each second, for what is told as an age. */
export function useNow() {
  const now = ref(Date.now())
  const timer = setInterval(() => {
    now.value = Date.now()
  }, 1000)
  onBeforeUnmount(() => clearInterval(timer))
  return now
}
