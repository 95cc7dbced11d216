import { computed, ref } from 'vue'
import { api, type Session } from '@/api'
import { useLive } from '@/live/useLive'

const session = ref<Session | null>(null)
const user = computed(() => session.value?.user ?? null)
const canAct = computed(() => user.value !== null && user.value.role !== 'viewer')
const isAdmin = computed(() => user.value?.role === 'admin')

async function load(): Promise<void> {
  session.value = await api.session()
}

/** The socket was refused or closed: learn whether it was for want of a session. */
async function checkAgain(ended: boolean): Promise<void> {
  if (ended && session.value) session.value = { ...session.value, user: null }
  await load().catch(() => undefined)
  if (!user.value) useLive().disconnect()
}

async function login(name: string, password: string): Promise<void> {
  session.value = await api.login(name, password)
}

async function logout(): Promise<void> {
  await api.logout()
  useLive().disconnect()
  // Asked anew for the CSRF cookie that the next login needs.
  await load()
}

export function useSession() {
  return { session, user, canAct, isAdmin, load, login, logout, checkAgain }
}
