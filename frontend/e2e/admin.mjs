/** An operator in the Django admin: starts a task, sees it live without a reload, stops it; each after being asked. */

import { join } from 'node:path'
import { launchBrowser } from './browser.mjs'

const [url, user, password, task, pictures] = process.argv.slice(2)
const LIST = `${url}/admin/tasks_app/task/`
const seen = { problems: [] }

const browser = await launchBrowser()
const page = await browser.newPage({ viewport: { width: 1400, height: 800 } })
page.on('pageerror', (error) => seen.problems.push(String(error)))
page.on('console', (message) => message.type() === 'error' && seen.problems.push(message.text()))

const cell = (what) => page.locator(`[data-task="${task}"][data-shows="${what}"]`)

async function ask(action, reason) {
  await page.locator(`input[name="_selected_action"][value="${task}"]`).check()
  await page.selectOption('select[name="action"]', action)
  await page.getByRole('button', { name: 'Go' }).click()
  await page.screenshot({ path: join(pictures, `${action}.png`) })
  if (reason) await page.fill('input[name="reason"]', reason)
  await page.locator('input[name="confirmed"]').click()
}

async function becomes(status, timeout) {
  await page.evaluate(() => Object.assign(window, { sameDocument: true }))
  await cell('status')
    .and(page.getByText(status, { exact: true }))
    .waitFor({ timeout })
  return page.evaluate(() => window.sameDocument === true)
}

try {
  await page.goto(LIST)
  await page.fill('input[name="username"]', user)
  await page.fill('input[name="password"]', password)
  await page.getByRole('button', { name: 'Log in' }).click()
  await cell('status').waitFor()
  seen.before = await cell('status').textContent()
  await ask('start_tasks')
  seen.startedLive = await becomes('Running', 90_000)
  await page.waitForFunction(
    (task) =>
      /lag_ms \d/.test(
        document.querySelector(`[data-task="${task}"][data-shows="progress"]`)?.textContent ?? '',
      ),
    task,
    { timeout: 30_000 },
  )
  const first = await cell('progress').textContent()
  await page.waitForFunction(
    ([task, first]) =>
      document.querySelector(`[data-task="${task}"][data-shows="progress"]`)?.textContent !== first,
    [task, first],
    { timeout: 30_000 },
  )
  seen.colour = await cell('status').evaluate((found) => getComputedStyle(found).backgroundColor)
  await page.screenshot({ path: join(pictures, 'list.png') })
  await ask('stop_tasks', 'seen in the admin')
  seen.stoppedLive = await becomes('Stopped', 15_000)
  await page.goto(`${LIST}${task}/change/`)
  seen.events = await page.locator('#events-group tbody tr.has_original').count()
  await page.screenshot({ path: join(pictures, 'task.png'), fullPage: true })
} finally {
  await browser.close()
}
process.stdout.write(`${JSON.stringify(seen)}\n`)
