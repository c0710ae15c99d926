// A stand-in for the server, for developing the page and for its browser tests only: serves the
// built page under the same content security policy, an invented fleet, and the live socket.
//
//   node mock/server.mjs [--port N] [--scene mixed|calm|empty] [--hosts N]
//
// POST /mock/{offline,online,enrol}/NAME, /mock/drop (closes all live sockets), /mock/deaf and
// /mock/hear (refuses and accepts new ones) move the world from outside.

import { randomBytes, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { WebSocketServer } from 'ws';

import { group, host, iso, job, schedule, snapshots, step, world } from './fleet.mjs';
import { moreRoutes, Refusal } from './routes.mjs';
import { alertsOf, judge, resolvedAlerts } from './verdict.mjs';

const { values: options } = parseArgs({
  options: {
    port: { type: 'string', default: '8471' },
    scene: { type: 'string', default: 'mixed' },
    hosts: { type: 'string', default: '0' },
    running: { type: 'string', default: '0' },
    setup: { type: 'boolean', default: false },
  },
});

const TOKEN = 'hf_api_mock';
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.woff2': 'font/woff2' };
const dist = join(fileURLToPath(new URL('.', import.meta.url)), '..', 'dist');
const { hosts, jobs, repositories } = world(options.scene, Number(options.hosts));
const alerts = [...alertsOf(hosts), ...resolvedAlerts(hosts)];
const logs = new Map();
let needsSetup = options.setup;
const ended = (it) => !['queued', 'running', 'paused'].includes(it.status);

let rev = 1;
let deaf = false;
const live = new WebSocketServer({ noServer: true });

function tell(event) {
  rev += 1;
  const text = JSON.stringify({ ...event, rev });
  for (const client of live.clients) client.send(text);
}
const tellHost = (it) => tell({ kind: 'host', host: brief(it.name.startsWith('node-') ? it : judge(it, jobs)) });
const tellJob = (it) => tell({ kind: 'job', job: it });

/** A host as the live socket tells it: without what only its own page shows. */
function brief(it) {
  const { id, name, state, host_group, labels, dialect, verdict, last_seen_at, connected_since, restic_version, hostname, os, arch, last_backup, next_backup_at, running_jobs } = it;
  const groups = it.groups.map(({ name, repository_id, repository_name, verdict, schedule }) => ({
    name, repository_id, repository_name, verdict: { standing: verdict?.standing ?? 'protected' }, schedule: schedule && { time_zone: schedule.time_zone, next_at: schedule.next_at },
  }));
  const capabilities = dialect ? it.capabilities : undefined;
  return { id, name, state, host_group, labels, dialect, capabilities, verdict, last_seen_at, connected_since, restic_version, hostname, os, arch, groups, last_backup, next_backup_at, running_jobs };
}

const HOSTS_PER_PART = 500;

/** Everything, in parts as the server sends it. */
function snapshotEvents() {
  const done = jobs.filter(ended).sort((a, b) => b.created_at.localeCompare(a.created_at)).slice(0, 50);
  const active = alerts.filter((it) => it.state !== 'resolved');
  const told = hosts.map(brief);
  const parts = [];
  while (told.length > HOSTS_PER_PART) parts.push({ kind: 'snapshot.part', number: parts.length + 1, hosts: told.splice(0, HOSTS_PER_PART) });
  return [...parts, { kind: 'snapshot', rev, parts: parts.length, hosts: told, alerts: active, jobs: [...jobs.filter((it) => !ended(it)), ...done] }];
}

function log(it, stream, payload) {
  const lines = logs.get(it.id) ?? [];
  logs.set(it.id, lines);
  lines.push({ seq: (lines.at(-1)?.seq ?? 0) + 1, ts: iso(Date.now()), stream, payload });
  for (const client of live.clients) for (const follow of client.follows?.values() ?? []) if (follow.job_id === it.id) tellLines(client, follow);
}

/** A part of a log, as a page of it and as a word over the live line. */
function logAfter(id, after) {
  const lines = (logs.get(id) ?? []).filter((it) => it.seq > after);
  return { lines, gaps: lines.some((it) => it.seq === 17) ? [{ from: 5, to: 16 }] : [] };
}

function tellLines(client, follow) {
  const { after } = follow;
  const part = logAfter(follow.job_id, after);
  if (part.lines.length === 0) return;
  follow.after = part.lines.at(-1).seq;
  client.send(JSON.stringify({ kind: 'log', follow: follow.follow, after, last: follow.after, ...part }));
}

function hear(client, said) {
  if (said.kind === 'log.leave') client.follows.delete(said.follow);
  if (said.kind !== 'log.follow') return;
  client.follows.set(said.follow, said);
  tellLines(client, said);
}

function finish(it, status, over = {}) {
  const target = hosts.find((found) => found.id === it.host_id);
  Object.assign(it, { status, finished_at: iso(Date.now()), progress: undefined, ...over });
  log(it, 'event', `The backup ${status}.`);
  target.running_jobs = target.running_jobs.filter((id) => id !== it.id);
  if (it.operation === 'backup') target.last_backup = { job_id: it.id, group: it.group, status, finished_at: it.finished_at, snapshot_id: it.snapshot_id };
  tellJob(it);
  tellHost(target);
}

/** What a restore says at its end; a rehearsal ends at once and has counted only. */
function restored(it, progress) {
  const { dry_run: dry = false, target } = it.parameters ?? {};
  const files = progress.total_files;
  return { target: target?.directory ?? '/', dry_run: dry, total_files: files, files_restored: dry ? 0 : files - 3, files_skipped: 3, total_bytes: progress.total_bytes, bytes_restored: dry ? 0 : progress.total_bytes, error_count: 0 };
}

function move() {
  for (const it of jobs) {
    const target = hosts.find((found) => found.id === it.host_id);
    if (it.status === 'queued' && target.state === 'online') {
      Object.assign(it, { status: 'running', started_at: iso(Date.now()) });
      target.running_jobs.push(it.id);
      log(it, 'event', 'restic started.');
      tellJob(it);
      tellHost(target);
    } else if (it.status === 'running' && target.state === 'online') {
      it.progress = step(it, it.operation === 'backup' ? 0.4 : 60);
      if (Math.random() < 0.2) log(it, 'stdout', `scanned ${it.progress.files_done} files, \u001b[32mok\u001b[0m`);
      if (it.progress.percent_done < 1) tell({ kind: 'job.progress', job_id: it.id, progress: it.progress });
      else if (it.operation !== 'backup') finish(it, 'succeeded', { exit_code: 0, result: restored(it, it.progress) });
      else {
        const total = it.progress.total_bytes;
        const stats = { files_new: 911, files_changed: 204, files_unmodified: it.progress.total_files, data_added: Math.round(total / 21), total_bytes_processed: total, total_files_processed: it.progress.total_files };
        finish(it, 'succeeded', { exit_code: 0, snapshot_id: randomBytes(32).toString('hex'), stats });
      }
    }
  }
}
for (const target of hosts.filter((it) => it.name.startsWith('node-')).slice(0, Number(options.running))) {
  const it = job(target, 'system', { status: 'running', cause: 'schedule', started_at: iso(Date.now()) });
  it.progress = step(it, 0);
  jobs.push(it);
  target.running_jobs.push(it.id);
}
setInterval(move, 400);
setInterval(() => tell({ kind: 'ping' }), 20_000);
for (const it of jobs.filter((one) => one.status === 'running' || one.status === 'failed')) {
  log(it, 'event', 'The repository was opened (version 2, compression level auto).');
  log(it, 'stdout', 'using parent snapshot 4f1c09aa');
  log(it, 'stderr', '\u001b[31mwarning:\u001b[0m /var/lib/docker/overlay2/l/QXV7: permission denied <script>alert(1)</script>');
  logs.get(it.id).push({ seq: 17, ts: iso(Date.now()), stream: 'stdout', payload: 'scan finished in 12.204s: 214551 files, 38.101 GiB' });
}

const findHost = (word) => {
  const it = hosts.find((found) => found.id === word || found.name === word);
  if (!it) throw new Refusal(404, 'host_not_found', `There is no host ${word}.`, 'List the hosts to see their names.');
  return it;
};
const findJob = (id) => {
  const it = jobs.find((found) => found.id === id);
  if (!it) throw new Refusal(404, 'job_not_found', `There is no job ${id}.`, 'List the jobs to see their ids.');
  return it;
};
const findGroup = (target, name) => {
  const it = target.groups.find((found) => found.name === name);
  if (!it) throw new Refusal(404, 'group_not_found', `The host has no source group ${name}.`, 'Add it first.');
  return it;
};
const enrolment = (it) => ({ host_id: it.id, name: it.name, enrolment_token: `hf_enr_${randomBytes(32).toString('base64url')}`, expires_at: iso(Date.now() + 3_600_000) });

const routes = [
  ['GET', /^\/me$/, () => ({ name: 'mira', kind: 'user', role: 'admin', host_groups: ['*'], totp_enabled: false })],
  ['GET', /^\/hosts$/, () => ({ hosts })],
  ['POST', /^\/hosts$/, (_, body) => {
    if (hosts.some((it) => it.name === body.name)) throw new Refusal(409, 'host_exists', `There is already a host named ${body.name}.`, 'Choose another name, or make a new enrolment command on its page.');
    const it = host(body.name, { state: 'pending', groups: [], agent_version: '', restic_version: '', hostname: '', os: '', arch: '', time_zone: '', last_seen_at: undefined, connected_since: undefined, created_at: iso(Date.now()), reconnects: 0 });
    hosts.push(it);
    tellHost(it);
    return [201, enrolment(it)];
  }],
  ...moreRoutes({ hosts, jobs, repositories, alerts, findHost, tell, hostile: '<img src=x onerror="window.hacked=1">\u202e' }),
  ['GET', /^\/hosts\/([^/]+)$/, ([name]) => findHost(name)],
  ['PATCH', /^\/hosts\/([^/]+)$/, ([name], body) => {
    const it = Object.assign(findHost(name), body);
    tellHost(it);
    return it;
  }],
  ['DELETE', /^\/hosts\/([^/]+)$/, ([name]) => {
    const it = findHost(name);
    hosts.splice(hosts.indexOf(it), 1);
    tell({ kind: 'host.removed', host_id: it.id });
    return [204];
  }],
  ['POST', /^\/hosts\/([^/]+)\/enrolment-token$/, ([name]) => [201, enrolment(findHost(name))]],
  ['POST', /^\/hosts\/([^/]+)\/groups$/, ([name], body) => {
    const it = findHost(name);
    const made = group(body.name, body.repository, body.includes, undefined, body.excludes);
    it.groups.push(made);
    tellHost(it);
    return [201, made];
  }],
  ['DELETE', /^\/hosts\/([^/]+)\/groups\/([^/]+)$/, ([name, group]) => {
    const it = findHost(name);
    it.groups.splice(it.groups.indexOf(findGroup(it, group)), 1);
    tellHost(it);
    return [204];
  }],
  ['PUT', /^\/hosts\/([^/]+)\/groups\/([^/]+)\/schedule$/, ([name, group], body) => {
    const it = findHost(name);
    const found = findGroup(it, group);
    if (body.cron.split(/\s+/).length !== 5) throw new Refusal(400, 'invalid_schedule', `The cron expression “${body.cron}” has not five fields.`, 'Write minute, hour, day of month, month and day of week.');
    found.schedule = { ...schedule('nightly', body.time_zone), cron: body.cron, enabled: body.enabled ?? true };
    tellHost(it);
    return found;
  }],
  ['DELETE', /^\/hosts\/([^/]+)\/groups\/([^/]+)\/schedule$/, ([name, group]) => {
    const it = findHost(name);
    findGroup(it, group).schedule = undefined;
    tellHost(it);
    return [204];
  }],
  ['POST', /^\/hosts\/([^/]+)\/jobs$/, ([name], body) => {
    const it = findHost(name);
    if (body.operation === 'backup') findGroup(it, body.group);
    const made = job(it, body.group ?? '', { operation: body.operation, parameters: body.parameters, repository_id: body.repository });
    jobs.push(made);
    tellJob(made);
    return [202, { job_id: made.id }];
  }],
  ['GET', /^\/hosts\/([^/]+)\/snapshots$/, ([name]) => ({ snapshots: snapshots(findHost(name), jobs).sort((a, b) => b.time.localeCompare(a.time)) })],
  ['GET', /^\/jobs$/, (_, __, query) => {
    const fits = (it) => [it.host_id, it.host_name, null].includes(query.get('host')) && [it.status, null].includes(query.get('status'));
    const found = jobs.filter(fits).sort((a, b) => b.created_at.localeCompare(a.created_at));
    const start = Number(query.get('before') ?? 0);
    const limit = Number(query.get('limit') ?? 50);
    return { jobs: found.slice(start, start + limit), next: found.length > start + limit ? String(start + limit) : undefined };
  }],
  ['GET', /^\/jobs\/([^/]+)$/, ([id]) => findJob(id)],
  ['GET', /^\/jobs\/([^/]+)\/log$/, ([id], _, query) => logAfter(findJob(id).id, Number(query.get('after') ?? 0))],
  ['POST', /^\/jobs\/([^/]+)\/(cancel|pause|resume)$/, ([id, action]) => {
    const it = findJob(id);
    if (ended(it)) throw new Refusal(409, 'job_ended', 'The job has already ended.', 'Nothing is left to do.');
    if (action === 'cancel') {
      it.cancel_requested = true;
      setTimeout(() => finish(it, 'cancelled', { error: { code: 'cancelled', message: 'Somebody cancelled the backup.', action: 'Start it again when it suits.' } }), 900);
    } else setTimeout(() => { it.status = action === 'pause' ? 'paused' : 'running'; tellJob(it); }, 300);
    tellJob(it);
    return [202, { job_id: it.id }];
  }],
  ['GET', /^\/repositories$/, () => ({ repositories })],
  ['POST', /^\/repositories$/, (_, body) => {
    const made = { id: randomUUID(), name: body.name, kind: 'local', location: body.url, created_at: iso(Date.now()), host_count: 0 };
    repositories.push(made);
    return [201, { repository_id: made.id }];
  }],
];

const steer = {
  offline: (it) => Object.assign(it, { state: 'offline', last_seen_at: iso(Date.now()), connected_since: undefined }),
  online: (it) => Object.assign(it, { state: 'online', connected_since: iso(Date.now()) }),
  enrol: (it) => Object.assign(it, host(it.name, { id: it.id, groups: it.groups, created_at: it.created_at, connected_since: iso(Date.now()), reconnects: 0 })),
};

function steerWorld(path) {
  const [, , verb, name] = path.split('/');
  if (verb === 'deaf' || verb === 'hear') deaf = verb === 'deaf';
  if (verb === 'deaf' || verb === 'drop') for (const client of live.clients) client.terminate();
  if (!steer[verb]) return;
  const it = steer[verb](findHost(name));
  for (const one of jobs.filter((found) => found.host_id === it.id && !ended(found))) {
    one.host_online = it.state === 'online';
    tellJob(one);
  }
  tellHost(it);
}

const signedIn = (request) => /(^|;\s*)holdfast_sign_in=mock/.test(request.headers.cookie ?? '') || request.headers.authorization === `Bearer ${TOKEN}`;

async function bodyOf(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return parts.length > 0 ? JSON.parse(Buffer.concat(parts).toString()) : undefined;
}

async function answerApi(request, url) {
  const path = url.pathname.slice('/api/v1'.length);
  if (path === '/sign-in' && request.method === 'GET') return [200, { oidc: { label: 'Example ID' } }];
  // The provider lets everybody in at once, and sends them back.
  if (path === '/sign-in/oidc/begin') return [200, { url: '/sign-in/oidc?code=mock&state=mock' }];
  if (path === '/sign-in/oidc') {
    const said = await bodyOf(request);
    if (said.code !== 'mock') throw new Refusal(403, 'oidc_unmapped', 'The identity provider knows mira, but none of their groups has a role here.', 'Ask an admin for a role.');
    return [200, { name: 'mira', role: 'admin' }, { 'set-cookie': 'holdfast_sign_in=mock; HttpOnly; SameSite=Strict; Path=/' }];
  }
  if (path === '/sign-in') {
    const said = await bodyOf(request);
    if (said.name === 'tomas' && said.password === 'mock' && said.totp_code !== '123456') throw new Refusal(401, 'totp_required', 'A code of your authenticator is needed.', 'Type the six digits it shows now.');
    const known = said.token ? said.token === TOKEN : ['mira', 'tomas'].includes(said.name) && said.password === 'mock';
    if (!known && !said.token) throw new Refusal(401, 'invalid_credentials', 'Name or password is not right.', 'Type both again; after ten wrong tries you have to wait.');
    if (!known) throw new Refusal(401, 'invalid_token', 'This token is not known here.', 'Check that it was copied whole, or create a new one with `holdfast token create`.');
    return [200, { name: 'mira', role: 'admin' }, { 'set-cookie': 'holdfast_sign_in=mock; HttpOnly; SameSite=Strict; Path=/' }];
  }
  if (path === '/setup' && request.method === 'GET') return [200, { needed: needsSetup }];
  if (path === '/setup') {
    if ((await bodyOf(request)).code !== 'MOCK-CODE') throw new Refusal(401, 'setup_code_wrong', 'This code is not the one the server printed.', 'Look at its output once more.');
    needsSetup = false;
    return [200, { name: 'mira', role: 'admin' }, { 'set-cookie': 'holdfast_sign_in=mock; HttpOnly; SameSite=Strict; Path=/' }];
  }
  if (path === '/sign-out') return [204, undefined, { 'set-cookie': 'holdfast_sign_in=; Max-Age=0; Path=/' }];
  if (!signedIn(request)) throw new Refusal(401, 'unauthorised', 'You are not signed in.', 'Sign in with an API token.');
  for (const [method, pattern, answer] of routes) {
    const match = method === request.method && pattern.exec(path);
    if (!match) continue;
    const said = answer(match.slice(1).map(decodeURIComponent), await bodyOf(request), url.searchParams);
    return Array.isArray(said) ? said : [200, said];
  }
  throw new Refusal(404, 'not_found', 'There is no such address.', 'Read the API description.');
}

async function answerFile(url, response) {
  const wanted = normalize(url.pathname).replace(/^(\.\.[/\\])+/, '');
  const path = extname(wanted) ? join(dist, wanted) : join(dist, 'index.html');
  const content = await readFile(path).catch(() => undefined);
  response.writeHead(content ? 200 : 404, { 'content-type': TYPES[extname(path)] ?? 'application/octet-stream', 'content-security-policy': POLICY });
  response.end(content);
}

const server = createServer(async (request, response) => {
  const url = new URL(request.url, 'http://mock');
  try {
    if (url.pathname === '/mock/lines') return response.end(String(live.clients.size));
    if (url.pathname.startsWith('/mock/')) {
      steerWorld(url.pathname);
      return response.writeHead(204).end();
    }
    if (!url.pathname.startsWith('/api/')) return await answerFile(url, response);
    const [status, body, headers = {}] = await answerApi(request, url);
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(body === undefined || Buffer.isBuffer(body) ? body : JSON.stringify(body));
  } catch (error) {
    const { status = 500, code = 'mock', action = 'Look at the mock.' } = error;
    if (status === 500) console.error(error);
    response.writeHead(status, { 'content-type': 'application/problem+json' });
    response.end(JSON.stringify({ type: 'about:blank', status, code, title: error.message, action }));
  }
});

server.on('upgrade', (request, socket, head) => {
  if (deaf || !signedIn(request) || request.headers.origin !== `http://${request.headers.host}`) {
    socket.end(`HTTP/1.1 ${deaf ? '503 Service Unavailable' : '401 Unauthorized'}\r\n\r\n`);
    return;
  }
  live.handleUpgrade(request, socket, head, (client) => {
    client.follows = new Map();
    client.on('message', (text) => hear(client, JSON.parse(text)));
    for (const event of snapshotEvents()) client.send(JSON.stringify(event));
  });
});

server.listen(Number(options.port), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
