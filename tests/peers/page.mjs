// A page with the few lines of JavaScript that people write against the agent's own socket, in a
// real browser.
//
//   node page.mjs PORT-OF-THE-PAGE PORT-OF-THE-AGENT
//
// It says on standard output what the page sees, one word a line: stranger refused, moving, pressed,
// paused, moving again.

import { createServer } from 'node:http';
import { createRequire } from 'node:module';

import { launch, until } from '../../web/e2e/browser.mjs';

createRequire(new URL('../../web/package.json', import.meta.url));
const [pagePort, agentPort] = process.argv.slice(2);

const PAGE = `<!doctype html><title>backup</title>
<progress id="bar" max="100" value="0"></progress> <button id="pause">Pause</button> <b id="state"></b>
<script>
  const ws = new WebSocket('ws://127.0.0.1:${agentPort}/ws');
  let job = null;
  window.seen = [];
  ws.onopen = () => { window.open_ = true; ws.send(JSON.stringify({ type: 'agent:status' })); };
  ws.onerror = () => { window.refused = true; };
  ws.onmessage = (event) => {
    const msg = JSON.parse(event.data);
    switch (msg.type) {
      case 'backup:progress':
        job = msg.payload.job_id;
        document.getElementById('bar').value = msg.payload.percent;
        window.seen.push(msg.payload.percent);
        break;
      case 'agent:status':
        document.getElementById('state').textContent = msg.payload.status;
        break;
    }
  };
  document.getElementById('pause').onclick = () => {
    ws.send(JSON.stringify({ type: 'backup:pause', payload: { job_id: job } }));
    setInterval(() => ws.send(JSON.stringify({ type: 'agent:status', payload: null })), 500);
  };
</script>`;

const say = (what) => process.stdout.write(`${what}\n`);
const server = createServer((_, response) => {
  response.writeHead(200, { 'content-type': 'text/html' });
  response.end(PAGE);
});
await new Promise((resolve) => server.listen(Number(pagePort), '127.0.0.1', resolve));
const browser = await launch();

// The same page under another name is of another origin, which nobody allowed.
const stranger = await browser.newPage();
await stranger.goto(`http://localhost:${pagePort}/`);
await until('the refusal', () => stranger.evaluate(() => window.refused));
if (await stranger.evaluate(() => window.open_)) throw new Error('a page of another origin was let in');
await stranger.close();
say('stranger refused');

const page = await browser.newPage();
await page.goto(`http://127.0.0.1:${pagePort}/`);
const moved = (since) =>
  page.evaluate((from) => new Set(window.seen.slice(from).filter((percent) => percent > 0)).size >= 3, since);
await until('moving progress', () => moved(0), 90_000);
const value = await page.evaluate(() => document.getElementById('bar').value);
if (!(value > 0 && value <= 100)) throw new Error(`the bar shows ${value}`);
say('moving');
await page.click('#pause');
say('pressed');
await until('the pause', () => page.evaluate(() => document.getElementById('state').textContent === 'paused'), 30_000);
const seen = await page.evaluate(() => window.seen.length);
say('paused');
await until('progress after the resume', () => moved(seen), 90_000);
say('moving again');
await browser.close();
process.exit(0);
