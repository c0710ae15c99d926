// People, tokens, sign-ins and the audit trail of the invented server.

import { createHash, randomUUID } from 'node:crypto';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const ago = (milliseconds) => new Date(Date.now() - milliseconds).toISOString();

export const users = [
  { name: 'mira', role: 'admin', host_groups: ['*'], totp_enabled: true, disabled: false, single_sign_on: false, created_at: ago(200 * DAY), last_sign_in_at: ago(2 * HOUR) },
  { name: 'tomas', role: 'operator', host_groups: ['web', 'db'], totp_enabled: false, disabled: false, single_sign_on: true, created_at: ago(90 * DAY), last_sign_in_at: ago(3 * DAY) },
  { name: 'auditor', role: 'viewer', host_groups: ['*'], totp_enabled: false, disabled: true, single_sign_on: false, created_at: ago(150 * DAY), last_sign_in_at: ago(80 * DAY) },
];

export const tokens = [
  { id: randomUUID(), name: 'grafana', role: 'viewer', host_groups: ['*'], created_at: ago(120 * DAY), last_used_at: ago(30_000) },
  { id: randomUUID(), name: 'deploy', role: 'operator', host_groups: ['web'], created_at: ago(40 * DAY), expires_at: ago(-50 * DAY), last_used_at: ago(5 * DAY) },
];

export const signIns = [
  { id: randomUUID(), user: 'mira', created_at: ago(2 * HOUR), last_seen_at: ago(10_000), address: '192.0.2.14', user_agent: 'Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0', current: true },
  { id: randomUUID(), user: 'mira', created_at: ago(9 * DAY), last_seen_at: ago(14 * HOUR), address: '198.51.100.7', user_agent: 'Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) AppleWebKit/605.1.15 Version/19.1 Mobile Safari/604.1', current: false },
  { id: randomUUID(), user: 'tomas', created_at: ago(3 * DAY), last_seen_at: ago(2 * DAY), address: '203.0.113.80', user_agent: 'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/142.0.0.0 Safari/537.36', current: false },
];

const STORY = [
  ['mira', 'user', 'schedule.set', 'web-1/system', { cron: '0 3 * * *' }, { cron: '30 2 * * *', time_zone: 'Europe/Berlin' }],
  ['tomas', 'user', 'job.cancelled', 'git-1/repositories'],
  ['mira', 'user', 'repository.credentials_changed', 'vault', { password: 'set' }, { password: 'changed' }],
  ['deploy', 'token', 'job.ordered', 'web-2/system', undefined, { operation: 'backup' }],
  ['mira', 'user', 'user.added', 'tomas', undefined, { role: 'operator', host_groups: ['web', 'db'] }],
  ['mira', 'user', 'snapshot.downloaded', 'nas-1/documents 4f1c09aa:/volume1/documents/contract.pdf'],
  ['mira', 'user', 'host.added', 'new-router'],
  ['tomas', 'user', 'sign_in.refused', 'tomas'],
];

export const audit = Array.from({ length: 240 }, (_, index) => {
  const [actor, actor_kind, action, subject, before, after] = STORY[index % STORY.length];
  const seq = 240 - index;
  return { seq, at: ago(index * 1.7 * HOUR + 20 * 60_000), actor, actor_kind, address: actor === 'mira' ? '192.0.2.14' : '203.0.113.80', action, subject, before, after, hash: createHash('sha256').update(String(seq)).digest('hex') };
});
