// The screens around the fleet itself: snapshots, alerts, channels, schedules, people.

import { randomBytes, randomUUID } from 'node:crypto';

import { iso } from './fleet.mjs';
import { audit, signIns, tokens, users } from './people.mjs';
import { content, difference, entries, search } from './snapshot.mjs';
import { daysOf } from './verdict.mjs';

const HOUR = 3_600_000;
const RULES = ['agent_outdated', 'clock_off', 'cloned_identity', 'endless', 'failed', 'missed', 'offline', 'outbox_full', 'partial', 'policy_refused', 'stale', 'unverified'];

export class Refusal extends Error {
  constructor(status, code, title, action) {
    super(title);
    Object.assign(this, { status, code, action });
  }
}

const missing = (noun, word) => new Refusal(404, `${noun}_not_found`, `There is no ${noun} ${word}.`, 'It may have been removed.');

/** When a cron of the invented plans comes next, coarsely. */
function runs(cron, count) {
  const [minute, hour, , , weekday] = cron.split(' ');
  const step = hour === '*' ? HOUR : weekday === '*' ? 24 * HOUR : 7 * 24 * HOUR;
  const first = new Date();
  first.setUTCMinutes(Number(minute) || 0, 0, 0);
  // The invented fleet lives in Berlin, in winter.
  if (hour !== '*') first.setUTCHours((Number(hour) || 0) - 1);
  if (weekday !== '*') first.setUTCDate(first.getUTCDate() + ((Number(weekday) - first.getUTCDay() + 7) % 7));
  const start = first.getTime() > Date.now() ? first.getTime() : first.getTime() + step;
  return Array.from({ length: count }, (_, index) => iso(start + index * step));
}

export function moreRoutes({ hosts, jobs, repositories, alerts, findHost, tell, hostile }) {
  const channels = [
    { id: randomUUID(), name: 'on-call', kind: 'ntfy', target: 'https://ntfy.example.net/backups', severity_min: 'critical', created_at: iso(Date.now() - 80 * 24 * HOUR) },
    { id: randomUUID(), name: 'team', kind: 'mail', target: 'ops@example.net by mail.example.net', severity_min: 'warning', created_at: iso(Date.now() - 79 * 24 * HOUR) },
  ];
  const silences = [];
  const rules = RULES.map((rule) => ({ rule, severity: ['failed', 'stale', 'missed'].includes(rule) ? 'critical' : 'warning', enabled: rule !== 'agent_outdated', grace_seconds: rule === 'offline' ? 86_400 : 0 }));
  const find = (list, id, noun) => list.find((it) => it.id === id || it.name === id) ?? (() => { throw missing(noun, id); })();
  const remove = (list, id, noun) => { list.splice(list.indexOf(find(list, id, noun)), 1); return [204]; };
  const repositoryOf = (id) => find(repositories, id, 'repository');
  const plan = (cron, enabled, okAgo) => ({ cron, time_zone: 'Europe/Berlin', enabled, last_ok_at: okAgo ? iso(Date.now() - okAgo * HOUR) : undefined, next_at: enabled ? runs(cron, 1)[0] : undefined });

  return [
    ['GET', /^\/overview\/days$/, () => daysOf(hosts, jobs)],
    ['GET', /^\/schedules\/preview$/, (_, __, query) => {
      const cron = query.get('cron');
      if (cron.trim().split(/\s+/).length !== 5) throw new Refusal(400, 'invalid_schedule', `\`${cron}\` is not a five-field cron expression.`, 'Give minute, hour, day of month, month and day of week, such as `30 2 * * *`.');
      return { in_words: `At ${cron.split(' ')[1].padStart(2, '0')}:${cron.split(' ')[0].padStart(2, '0')}.`, next: runs(cron, 5) };
    }],
    ['GET', /^\/schedules$/, () => ({
      more: false,
      schedules: hosts.flatMap((host) => host.groups.filter((it) => it.schedule).map((group) => ({
        host_id: host.id, host_name: host.name, group: group.name, repository_name: group.repository_name, schedule: group.schedule,
        runs: group.schedule.enabled ? runs(group.schedule.cron, 170).filter((at) => Date.parse(at) < Date.now() + 168 * HOUR) : [],
      }))),
    })],
    ['GET', /^\/hosts\/([^/]+)\/evaluations$/, ([name]) => {
      const host = findHost(name);
      return { evaluations: host.groups.filter((it) => it.schedule).flatMap((group) => Array.from({ length: 6 }, (_, index) => {
        const missed = host.name === 'kiosk-2' && index < 4;
        return { schedule_id: group.schedule.id, group: group.name, due_at: iso(Date.now() - (index + 0.5) * 24 * HOUR), outcome: missed ? 'missed' : index === 4 ? 'caught_up' : 'fired', ...(missed ? { reason: 'agent_silent', message: 'The agent was connected and did not start the run.', action: 'Look at the log of the agent on the host.' } : {}) };
      })) };
    }],
    ['PUT', /^\/hosts\/([^/]+)\/groups\/([^/]+)$/, ([name, group], body) => {
      const host = findHost(name);
      const found = host.groups.find((it) => it.name === group);
      if (!found) throw missing('group', group);
      Object.assign(found, { includes: body.includes, excludes: body.excludes ?? [] });
      tell({ kind: 'host', host });
      return found;
    }],
    ['GET', /^\/hosts\/([^/]+)\/groups\/([^/]+)\/retention$/, () => ({ retention: { keep_last: 3, keep_daily: 14, keep_weekly: 8, keep_monthly: 12 } })],
    ['PUT', /^\/hosts\/([^/]+)\/groups\/([^/]+)\/retention$/, (_, body) => body],
    ['GET', /^\/hosts\/([^/]+)\/snapshots\/([^/]+)\/entries$/, ([name], _, query) => {
      if (findHost(name).state !== 'online') throw new Refusal(409, 'host_offline', 'The host is offline, and only it can read its repository.', 'Try again when it is back.');
      const path = query.get('path') ?? '/';
      const found = entries(path, Number(query.get('offset') ?? 0), Number(query.get('limit') ?? 1000), hostile);
      if (!found) throw new Refusal(404, 'path_not_found', `The snapshot does not hold ${path}.`, 'Start from its top.');
      return found;
    }],
    ['GET', /^\/hosts\/([^/]+)\/snapshots\/([^/]+)\/search$/, (_, __, query) => search(query.get('pattern') ?? '', Number(query.get('limit') ?? 200))],
    ['GET', /^\/hosts\/([^/]+)\/snapshots\/([^/]+)\/download$/, (_, __, query) => {
      const name = query.get('path').split('/').filter(Boolean).at(-1) ?? 'snapshot';
      return [200, content(query.get('path')), { 'content-type': 'application/octet-stream', 'content-disposition': `attachment; filename*=UTF-8''${encodeURIComponent(name)}` }];
    }],
    ['GET', /^\/hosts\/([^/]+)\/diff$/, () => difference],
    ['GET', /^\/alerts$/, (_, __, query) => {
      const state = query.get('state');
      return { alerts: alerts.filter((it) => !state || it.state === state).sort((a, b) => b.first_seen_at.localeCompare(a.first_seen_at)) };
    }],
    ['GET', /^\/alerts\/([^/]+)$/, ([id]) => find(alerts, id, 'alert')],
    ['POST', /^\/alerts\/([^/]+)\/acknowledge$/, ([id]) => {
      const alert = Object.assign(find(alerts, id, 'alert'), { state: 'acknowledged', acknowledged_at: iso(Date.now()), acknowledged_by: 'mira' });
      tell({ kind: 'alert', alert });
      return alert;
    }],
    ['GET', /^\/alert-rules$/, () => ({ rules })],
    ['PUT', /^\/alert-rules\/([^/]+)$/, ([rule], body) => Object.assign(rules.find((it) => it.rule === rule), body)],
    ['GET', /^\/silences$/, () => ({ silences })],
    ['POST', /^\/silences$/, (_, body) => {
      const made = { id: randomUUID(), created_at: iso(Date.now()), created_by: 'mira', ...body };
      silences.push(made);
      const alert = alerts.find((it) => it.id === body.alert_id);
      if (alert) tell({ kind: 'alert', alert: Object.assign(alert, { silenced_until: body.until }) });
      return [201, made];
    }],
    ['DELETE', /^\/silences\/([^/]+)$/, ([id]) => remove(silences, id, 'silence')],
    ['GET', /^\/channels$/, () => ({ channels })],
    ['POST', /^\/channels$/, (_, body) => {
      const made = { id: randomUUID(), name: body.name, kind: body.settings.kind, target: body.settings.url ?? body.settings.to?.join(', ') ?? body.settings.kind, severity_min: body.severity_min ?? 'warning', created_at: iso(Date.now()) };
      channels.push(made);
      return [201, made];
    }],
    ['DELETE', /^\/channels\/([^/]+)$/, ([id]) => remove(channels, id, 'channel')],
    ['POST', /^\/channels\/([^/]+)\/test$/, ([id]) => (find(channels, id, 'channel').kind === 'mail' ? { delivered: false, error: 'The mail server refused the sender (550).' } : { delivered: true })],
    ['GET', /^\/channels\/([^/]+)\/deliveries$/, ([id]) => ({
      deliveries: find(channels, id, 'channel').kind === 'mail'
        ? [{ id: randomUUID(), event: 'opened', state: 'failed', attempts: 8, created_at: iso(Date.now() - 5 * HOUR), ended_at: iso(Date.now() - HOUR), error: 'The mail server refused the sender (550).' }]
        : [{ id: randomUUID(), event: 'resolved', state: 'sent', attempts: 1, created_at: iso(Date.now() - 17 * HOUR), ended_at: iso(Date.now() - 17 * HOUR + 900) }, { id: randomUUID(), event: 'opened', state: 'sent', attempts: 3, created_at: iso(Date.now() - 19 * HOUR), ended_at: iso(Date.now() - 18.9 * HOUR) }],
    })],
    ['GET', /^\/repositories\/([^/]+)$/, ([id]) => ({
      ...repositoryOf(id),
      maintenance: { forget: plan('15 5 * * *', true, 9), prune: plan('0 6 * * 0', true, 70), check: plan('0 12 1 * *', false, 0) },
      has_admin_credentials: repositoryOf(id).name === 'vault',
    })],
    ['PUT', /^\/repositories\/([^/]+)\/maintenance\/([^/]+)$/, ([id, what], body) => ({ ...body, id, what })],
    ['PUT', /^\/repositories\/([^/]+)\/credentials\/([^/]+)$/, () => [204]],
    ['DELETE', /^\/repositories\/([^/]+)\/credentials\/([^/]+)$/, () => [204]],
    ['PUT', /^\/me\/password$/, (_, body) => { if (body.old !== 'mock') throw new Refusal(401, 'invalid_credentials', 'The old password is not right.', 'Type it again.'); return [204]; }],
    ['POST', /^\/me\/totp$/, () => ({ secret: 'JBSWY3DPEHPK3PXP', uri: 'otpauth://totp/Holdfast:mira?secret=JBSWY3DPEHPK3PXP&issuer=Holdfast' })],
    ['POST', /^\/me\/totp\/confirm$/, (_, body) => { if (body.code !== '123456') throw new Refusal(401, 'invalid_credentials', 'This code is not right.', 'Wait for the next one and type that.'); return [204]; }],
    ['DELETE', /^\/me\/totp$/, () => [204]],
    ['GET', /^\/sign-ins$/, (_, __, query) => ({ sign_ins: signIns.filter((it) => query.get('all') === 'true' || it.user === 'mira') })],
    ['DELETE', /^\/sign-ins\/([^/]+)$/, ([id]) => remove(signIns, id, 'sign_in')],
    ['GET', /^\/users$/, () => ({ users })],
    ['POST', /^\/users$/, (_, body) => {
      if (users.some((it) => it.name === body.name)) throw new Refusal(409, 'user_exists', `There is already a user ${body.name}.`, 'Choose another name.');
      users.push({ name: body.name, role: body.role, host_groups: body.host_groups ?? ['*'], totp_enabled: false, disabled: false, single_sign_on: false, created_at: iso(Date.now()) });
      return [201, users.at(-1)];
    }],
    ['PATCH', /^\/users\/([^/]+)$/, ([name], { password, ...body }) => Object.assign(find(users, name, 'user'), body)],
    ['DELETE', /^\/users\/([^/]+)$/, ([name]) => remove(users, name, 'user')],
    ['GET', /^\/tokens$/, () => ({ tokens })],
    ['POST', /^\/tokens$/, (_, body) => {
      const made = { id: randomUUID(), name: body.name, role: body.role, host_groups: body.host_groups ?? ['*'], created_at: iso(Date.now()), expires_at: body.expires_in_seconds ? iso(Date.now() + body.expires_in_seconds * 1000) : undefined };
      tokens.push(made);
      return [201, { id: made.id, token: `hf_api_${randomBytes(32).toString('base64url')}` }];
    }],
    ['DELETE', /^\/tokens\/([^/]+)$/, ([id]) => remove(tokens, id, 'token')],
    ['GET', /^\/audit\/verify$/, () => ({ ok: true, entries: audit.length })],
    ['GET', /^\/audit$/, (_, __, query) => {
      const before = Number(query.get('before') ?? Infinity);
      const found = audit.filter((it) => it.seq < before && (!query.get('actor') || it.actor === query.get('actor')) && (!query.get('action') || it.action.startsWith(query.get('action'))));
      return { entries: found.slice(0, 100), next: found.length > 100 ? found[99].seq : undefined };
    }],
  ];
}
