import { computed, ref, watchEffect } from 'vue'
import { DARK, LIGHT } from '@/charts/palette'

export type ThemeChoice = 'system' | 'light' | 'dark'

const KEY = 'theme'
const system = window.matchMedia('(prefers-color-scheme: dark)')

function remembered(): ThemeChoice {
  const stored = localStorage.getItem(KEY)
  return stored === 'light' || stored === 'dark' ? stored : 'system'
}

const choice = ref<ThemeChoice>(remembered())
const systemDark = ref(system.matches)
system.addEventListener('change', (event) => {
  systemDark.value = event.matches
})

const dark = computed(() => (choice.value === 'system' ? systemDark.value : choice.value === 'dark'))
const chartTheme = computed(() => (dark.value ? DARK : LIGHT))

watchEffect(() => document.documentElement.classList.toggle('dark', dark.value))

export function useTheme() {
  const choose = (next: ThemeChoice) => {
    choice.value = next
    localStorage.setItem(KEY, next)
  }
  return { choice, dark, chartTheme, choose }
}
