import { computed, ref } from 'vue'
import { api, type Feed, type Processor } from '@/api'
import type { Task } from '@/live/messages'
import { useLive } from '@/live/useLive'
import { isActive } from './tasks'

const KEY = 'feed'
const processors = ref<Processor[]>([])
const feeds = ref<Feed[]>([])
const loaded = ref(false)
const chosen = ref(localStorage.getItem(KEY) ?? '')
const live = useLive()

/** The feed looked at: the one chosen, else one that runs, else the first. */
const feed = computed<Feed | null>(
  () =>
    feeds.value.find(({ name }) => name === chosen.value) ??
    feeds.value.find(({ live_task }) => live_task !== null) ??
    feeds.value[0] ??
    null,
)

async function load(): Promise<void> {
  ;[processors.value, feeds.value] = await Promise.all([api.processors(), api.feeds()])
  loaded.value = true
}

function chooseFeed(name: string): void {
  chosen.value = name
  localStorage.setItem(KEY, name)
}

/** Return the task that publishes a feed now, as the websocket tells. */
function feedTask(name: string): Task | null {
  const tasks = Object.values(live.state.value.tasks)
  return tasks.find((task) => task.kind === 'feed' && task.feed === name && isActive(task)) ?? null
}

const isSimulated = (name: string | null) => feeds.value.some((row) => row.name === name && row.simulated)

export function useCatalog() {
  return { processors, feeds, feed, loaded, load, chooseFeed, feedTask, isSimulated }
}
