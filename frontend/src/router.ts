import { createRouter, createWebHistory } from 'vue-router'
import { useSession } from './lib/useSession'
import LoginPage from './pages/LoginPage.vue'

export const router = createRouter({
  history: createWebHistory('/'),
  routes: [
    { path: '/', name: 'live', component: () => import('./pages/LivePage.vue'), meta: { title: 'Live' } },
    { path: '/runs', name: 'runs', component: () => import('./pages/RunsPage.vue'), meta: { title: 'Runs' } },
    {
      path: '/runs/:id(\\d+)/kept',
      name: 'kept',
      component: () => import('./pages/KeptPage.vue'),
      meta: { title: 'Kept results' },
    },
    {
      path: '/feeds',
      name: 'feeds',
      component: () => import('./pages/FeedsPage.vue'),
      meta: { title: 'Feeds' },
    },
    {
      path: '/schedules',
      name: 'schedules',
      component: () => import('./pages/SchedulesPage.vue'),
      meta: { title: 'Schedules' },
    },
    {
      path: '/processors',
      name: 'processors',
      component: () => import('./pages/ProcessorsPage.vue'),
      meta: { title: 'Processors' },
    },
    {
      path: '/history',
      name: 'history',
      component: () => import('./pages/HistoryPage.vue'),
      meta: { title: 'History' },
    },
    {
      path: '/account',
      name: 'account',
      component: () => import('./pages/AccountPage.vue'),
      meta: { title: 'Account' },
    },
    {
      path: '/audit',
      name: 'audit',
      component: () => import('./pages/AuditPage.vue'),
      meta: { title: 'Audit', adminsOnly: true },
    },
    { path: '/login', name: 'login', component: LoginPage, meta: { title: 'Sign in' } },
    { path: '/:rest(.*)*', redirect: '/' },
  ],
})

router.beforeEach(async (to) => {
  const { session, user, isAdmin, load } = useSession()
  // Without an answer the login page is shown: it says that the server can't be reached.
  if (!session.value) await load().catch(() => undefined)
  if (!user.value && to.name !== 'login') return { name: 'login', query: { next: to.fullPath } }
  if (user.value && to.name === 'login') return { name: 'live' }
  if (to.meta.adminsOnly && !isAdmin.value) return { name: 'live' }
  return true
})

router.afterEach((to) => {
  document.title = `${String(to.meta.title ?? '')} · Market clusters`
})
