// Pictures of every screen, light and dark, on a desktop and on a phone, of the invented fleet.
//
//   npm run build && node e2e/screenshots.mjs OUTDIR [PART-OF-A-NAME]

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { launch, open, PHONE, until } from './browser.mjs';
import { shrink } from './png.mjs';
import { startMock } from './start-mock.mjs';

const DESKTOP = { width: 1280, height: 800 };
const LOOKS = [
  ['light', { viewport: DESKTOP, colorScheme: 'light' }],
  ['dark', { viewport: DESKTOP, colorScheme: 'dark' }],
  ['phone', { viewport: PHONE, colorScheme: 'light' }],
  ['phone-dark', { viewport: PHONE, colorScheme: 'dark' }],
];

const LIMIT = 60_000;
const first = (page, selector) => page.locator(selector).first();
const settled = (page, selector) => until(selector, () => first(page, selector).count(), LIMIT);

/** Each opens its screen and waits until there is something to see. */
const SCREENS = {
  overview: { path: '/', wait: '.verdict dl' },
  hosts: { path: '/hosts', wait: 'tr[data-host]' },
  host: { path: '/hosts/nas-1', wait: '[data-snapshot]' },
  'add-host': {
    path: '/add-host',
    wait: '#host-name',
    async act(page) {
      await page.fill('#host-name', `edge-${Math.floor(Math.random() * 90) + 10}`);
      await page.keyboard.press('Enter');
      await settled(page, '.copyable code');
    },
  },
  schedule: {
    path: '/hosts/web-1',
    wait: '[data-group]',
    async act(page) {
      await page.getByRole('button', { name: 'Edit schedule' }).first().click();
      await settled(page, '.preview ol li');
    },
  },
  'source-group': { path: '/hosts/web-1/groups/system/edit', wait: 'fieldset legend' },
  jobs: { path: '/jobs', wait: 'tr[data-job]' },
  job: {
    path: '/jobs?status=running',
    wait: 'tr[data-status=running] a',
    async act(page) {
      await first(page, 'tr[data-status=running] a').click();
      await until('a plot', () => page.locator('.plot .line').count());
      await page.waitForTimeout(5000);
    },
  },
  'job-failed': {
    path: '/jobs?status=failed',
    wait: 'tr[data-job] a',
    act: async (page) => {
      await first(page, 'tr[data-job] a').click();
      await settled(page, '.problem');
    },
  },
  snapshots: { path: '/hosts/db-1/snapshots', wait: '.marks a' },
  snapshot: {
    path: '/hosts/web-1/snapshots',
    wait: '[data-snapshot] a',
    async act(page) {
      await first(page, '[data-snapshot] a').click();
      for (const folder of ['home', 'anna', 'Documents']) {
        await settled(page, `tr[data-entry="${folder}"]`);
        await page.locator(`tr[data-entry="${folder}"] button`).click();
      }
      await settled(page, 'tr[data-entry="plan.md"]');
      await page.locator('tr[data-entry="Thesis.odt"] input').check();
    },
  },
  diff: {
    path: '/hosts/web-1/snapshots',
    wait: '[data-snapshot] input',
    async act(page) {
      await page.locator('[data-snapshot] input').nth(0).check();
      await page.locator('[data-snapshot] input').nth(1).check();
      await page.getByRole('link', { name: 'Compare' }).click();
      await settled(page, '[data-change]');
    },
  },
  restore: {
    path: '/hosts/web-1/snapshots',
    wait: '[data-snapshot] a',
    async act(page) {
      await first(page, '[data-snapshot] a').click();
      await settled(page, 'tr[data-entry="etc"]');
      await page.locator('tr[data-entry="etc"] input').check();
      await page.getByRole('link', { name: 'Restore 1 item' }).click();
      await page.fill('#restore-directory', '/srv/restored');
      await page.getByRole('button', { name: 'Look first' }).click();
      await until('the end of the look', () => page.getByRole('button', { name: 'Restore now' }).count());
      await page.getByRole('button', { name: 'Restore now' }).click();
      await until('the end of the restore', () => page.getByText('Exactly here').count());
    },
  },
  repositories: { path: '/repositories', wait: 'td.name' },
  repository: { path: '/repositories/vault', wait: '.plot .line' },
  schedules: { path: '/schedules', wait: '[data-schedule]' },
  alerts: { path: '/alerts', wait: '[data-alert]' },
  channels: {
    path: '/alerts/channels',
    wait: '[data-channel]',
    async act(page) {
      await page.getByRole('button', { name: 'Send a test' }).first().click();
      await until('the answer', () => page.getByText('It has arrived.').count());
    },
  },
  rules: { path: '/alerts/rules', wait: 'tbody tr' },
  settings: { path: '/settings', wait: '#password-title' },
  users: { path: '/settings/users', wait: '[data-user]' },
  tokens: { path: '/settings/tokens', wait: '[data-token]' },
  audit: { path: '/settings/audit', wait: 'tbody tr' },
  commands: {
    path: '/',
    wait: '.verdict dl',
    async act(page) {
      await page.keyboard.press('Control+k');
      await page.keyboard.type('web');
      await settled(page, '[role=option]');
    },
  },
};

const DOORS = {
  'sign-in': { options: [], wait: '#password' },
  setup: { options: ['--setup'], wait: '#setup-code' },
  'first-steps': { options: ['--scene', 'empty'], wait: '.verdict', signedIn: true },
  'all-well': { options: ['--scene', 'calm'], wait: '.verdict dl', signedIn: true },
};

async function take(page, folder, name) {
  await page.evaluate(() => document.fonts.ready);
  await page.waitForTimeout(150);
  const small = shrink(await page.screenshot({ animations: 'disabled', caret: 'hide' }));
  await writeFile(join(folder, `${name}.png`), small);
  return small.length;
}

async function signIn(page, url) {
  await page.goto(`${url}/#token=hf_api_mock`);
  await until('the live connection', () => page.locator('.state.live').count(), LIMIT);
}

const wanted = (stories, part) => Object.entries(stories).filter(([name]) => name.includes(part));

/** All stories of one world in one look, in one tab. */
async function visit(browser, options, [look, settings], stories, folder) {
  const mock = await startMock(...options);
  const { page, context, complaints } = await open(browser, settings);
  page.setDefaultTimeout(LIMIT);
  let bytes = 0;
  try {
    if (stories.some(([, story]) => story.path || story.signedIn)) await signIn(page, mock.url);
    for (const [name, story] of stories) {
      try {
        await page.goto(mock.url + (story.path ?? '/'));
        await settled(page, story.wait);
        if (story.act) await story.act(page);
        bytes += await take(page, folder, `${name}-${look}`);
      } catch (error) {
        throw new Error(`${name}-${look}: ${error.message}`);
      }
    }
  } finally {
    await context.close();
    mock.stop();
  }
  if (complaints.length > 0) throw new Error(`the browser complained: ${complaints[0]}`);
  return bytes;
}

async function run(folder, part) {
  await mkdir(folder, { recursive: true });
  const browser = await launch();
  let bytes = 0;
  try {
    for (const look of LOOKS) {
      const stories = wanted(SCREENS, part);
      if (stories.length > 0) bytes += await visit(browser, [], look, stories, folder);
      for (const [name, story] of wanted(DOORS, part)) bytes += await visit(browser, story.options, look, [[name, story]], folder);
    }
  } finally {
    await browser.close();
  }
  console.log(`ok: the pictures are in ${folder}, ${Math.round(bytes / 1024)} KiB`);
}

try {
  const [folder, part = ''] = process.argv.slice(2);
  if (!folder) throw new Error('usage: node e2e/screenshots.mjs OUTDIR [PART-OF-A-NAME]');
  await run(folder, part);
  process.exit(0);
} catch (error) {
  console.error(`error: ${error.message.split('\n')[0]}`);
  process.exit(1);
}
