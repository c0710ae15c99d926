// Drives the dashboard of a real server in Chromium and fails with one sentence.
//
//   node e2e/dashboard.mjs URL TOKEN OUTDIR [options]      (all options: web/README.md)

import { mkdir } from 'node:fs/promises';
import { parseArgs } from 'node:util';

import { launch, open, overflows, PHONE, shot, until } from './browser.mjs';

const USAGE =
  'usage: node e2e/dashboard.mjs URL TOKEN OUTDIR [--expect-host NAME]... [--expect-online NAME]... [--expect-offline NAME]... [--expect-running] [--expect-succeeded N] [--back-up HOST/GROUP] [--survive-restart] [--timeout SECONDS] [--name PREFIX]';

function readArguments() {
  const many = { type: 'string', multiple: true, default: [] };
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      'expect-host': many,
      'expect-online': many,
      'expect-offline': many,
      'expect-running': { type: 'boolean', default: false },
      'expect-succeeded': { type: 'string' },
      'back-up': { type: 'string' },
      'survive-restart': { type: 'boolean', default: false },
      timeout: { type: 'string', default: '60' },
      name: { type: 'string', default: 'dashboard' },
    },
  });
  const [url, token, out] = positionals;
  if (!url || !token || !out) throw new Error(USAGE);
  return { url: url.replace(/\/$/, ''), token, out, limit: Number(values.timeout) * 1000, ...values };
}

const isLive = (page) => page.locator('.state.live').count();
const row = (page, host) => page.locator(`tr[data-host="${host}"]`);

async function signIn(page, options) {
  await page.goto(`${options.url}/#token=${encodeURIComponent(options.token)}`);
  const refusal = page.locator('.problem .title');
  await until('signing in', async () => (await page.locator('.verdict').count()) + (await refusal.count()) > 0, options.limit);
  if (!(await page.locator('.verdict').count())) throw new Error(`signing in was refused: ${await refusal.first().innerText()}`);
  if (page.url().includes('token')) throw new Error('the token is still in the address bar after signing in');
  await until('the live connection', () => isLive(page), options.limit);
}

/** What a person waits for, printed so that a slow page is noticed. */
async function reportTimes(page, began) {
  const live = Date.now() - began;
  const paint = await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime);
  const script = await page.evaluate(() => performance.getEntriesByType('resource').filter((it) => it.name.endsWith('.js')).reduce((sum, it) => sum + it.transferSize, 0));
  console.log(`first paint after ${Math.round(paint ?? 0)} ms, live data after ${live} ms with the sign-in, ${Math.round(script / 1024)} KiB of script on the wire`);
}

async function expectHosts(page, options) {
  const states = [
    ...options['expect-host'].map((host) => [host, undefined]),
    ...options['expect-online'].map((host) => [host, 'online']),
    ...options['expect-offline'].map((host) => [host, 'offline']),
  ];
  for (const [host, state] of states) {
    const what = state ? `${host} being shown as ${state}` : `${host} being shown`;
    const shown = async () => {
      const found = row(page, host);
      return (await found.count()) > 0 && (!state || (await found.getAttribute('data-state')) === state);
    };
    await until(what, shown, options.limit);
  }
}

/** The bar of the first running job goes beyond the first value it showed, or the job ends. */
async function expectMovingBar(page, options) {
  const bar = page.locator('li[data-job]:has([aria-valuenow])').first();
  await until('a running job with a bar', () => bar.count(), options.limit);
  const id = await bar.getAttribute('data-job');
  const now = page.locator(`li[data-job="${id}"] [role=progressbar]`);
  const widthOf = () => now.locator('.fill').evaluate((fill) => fill.getBoundingClientRect().width, undefined, { timeout: 500 });
  const first = await widthOf().catch(() => 0);
  await shot(page, options.out, `${options.name}-running`);
  const moved = async () => (await widthOf().catch(() => undefined)) > first;
  await until(`the bar of job ${id} moving beyond its first value`, moved, options.limit);
  console.log(`moved: the bar of job ${id} went beyond its first ${Math.round(first)} px`);
}

async function backUp(page, options) {
  const [host, group] = options['back-up'].split('/');
  await page.goto(`${options.url}/hosts/${encodeURIComponent(host)}`);
  const card = page.locator(`[data-group="${group}"]`);
  await until(`the source group ${group} on the page of ${host}`, () => card.count(), options.limit);
  await card.locator('button.primary').click();
  await until('the page of the new job', () => page.url().includes('/jobs/'), options.limit);
  const end = page.locator('[data-status=succeeded], [data-status=partial], [data-status=failed], [data-status=cancelled], [data-status=interrupted]').first();
  await shot(page, options.out, `${options.name}-job-started`);
  await until(`the backup of ${host}/${group} ending`, () => end.count(), options.limit);
  const status = await end.getAttribute('data-status');
  await shot(page, options.out, `${options.name}-job-ended`);
  if (status !== 'succeeded') throw new Error(`the backup of ${host}/${group} ended as ${status}, not as succeeded`);
  await page.goto(options.url);
}

async function expectSucceeded(page, options) {
  const wanted = Number(options['expect-succeeded']);
  await page.goto(`${options.url}/jobs?status=succeeded`);
  const found = page.locator('tr[data-status=succeeded]');
  await until(`${wanted} succeeded jobs being shown`, async () => (await found.count()) >= wanted, options.limit);
  await shot(page, options.out, `${options.name}-jobs`);
  await page.goto(options.url);
}

/** The caller restarts the server when told; the page must lose it, say so, and come back unaided. */
async function surviveRestart(page, options) {
  await page.evaluate(() => (window.holdfastMark = true));
  console.log('restart: now');
  await until('the page noticing that the server is gone', async () => !(await isLive(page)), options.limit);
  await shot(page, options.out, `${options.name}-reconnecting`);
  await until('the page being live again after the restart', () => isLive(page), options.limit);
  if (!(await page.evaluate(() => window.holdfastMark))) throw new Error('the page was reloaded to recover, which it must not need');
  console.log('restart: the page is live again');
}

async function finalPictures(page, browser, options) {
  await until('the live connection', () => isLive(page), options.limit);
  await shot(page, options.out, `${options.name}-overview`);
  for (const [name, settings] of [
    ['overview-dark', { colorScheme: 'dark' }],
    ['overview-phone', { viewport: PHONE }],
  ]) {
    const { page: other, context } = await open(browser, settings);
    await signIn(other, options);
    await shot(other, options.out, `${options.name}-${name}`);
    if (await overflows(other)) throw new Error(`the page ${name} is wider than its window`);
    await context.close();
  }
}

async function run(options) {
  await mkdir(options.out, { recursive: true });
  const browser = await launch();
  try {
    const { page, complaints } = await open(browser);
    const began = Date.now();
    await signIn(page, options);
    await reportTimes(page, began);
    await expectHosts(page, options);
    if (options['expect-running']) await expectMovingBar(page, options);
    if (options['survive-restart']) await surviveRestart(page, options);
    if (options['back-up']) await backUp(page, options);
    if (options['expect-succeeded']) await expectSucceeded(page, options);
    await finalPictures(page, browser, options);
    if (complaints.length > 0) throw new Error(`the browser complained: ${complaints[0]}`);
  } finally {
    await browser.close();
  }
}

try {
  const options = readArguments();
  await run(options);
  console.log(`ok: the dashboard at ${options.url} shows what it should`);
} catch (error) {
  console.error(`error: ${error.message.split('\n')[0]}`);
  process.exitCode = 1;
}
