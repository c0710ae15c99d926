// Verdicts and alerts of the invented fleet. Coarse on purpose: what a verdict is, the server says.

import { randomUUID } from 'node:crypto';

const HOUR = 3_600_000;
const iso = (milliseconds) => new Date(milliseconds).toISOString();

const reason = (code, message, action, over = {}) => ({ code, message, action, ...over });

function judgeGroup(host, group, jobs) {
  const mine = jobs.filter((it) => it.host_id === host.id && it.group === group.name && it.operation === 'backup');
  const ended = mine.filter((it) => it.finished_at).sort((a, b) => b.finished_at.localeCompare(a.finished_at));
  const good = ended.find((it) => it.snapshot_id);
  const last = ended[0];
  const made = good && iso(Date.parse(good.started_at));
  const of = { group: group.name, since: last?.finished_at, job_id: last?.id, error_code: last?.error?.code };
  if (!good) return { standing: 'never', reasons: [reason('no_backup', 'It has never been backed up.', 'Back it up now.', { group: group.name })] };
  const old = Date.now() - Date.parse(made) > group.objective_seconds * 1000;
  if (old) return { standing: 'stale', restorable_at: made, reasons: [reason('stale', `The newest snapshot is of ${made.slice(0, 16).replace('T', ' ')} UTC, older than the ${Math.round(group.objective_seconds / 3600)} hours that are allowed.`, 'Look at the last job, then back it up now.', { group: group.name, since: iso(Date.parse(made) + group.objective_seconds * 1000), job_id: last.id })] };
  if (last.status === 'failed') return { standing: 'at_risk', restorable_at: made, reasons: [reason('failed', last.error.message, last.error.action, of)] };
  if (last.status === 'partial') return { standing: 'at_risk', restorable_at: made, reasons: [reason('partial', last.error.message, last.error.action, of)] };
  if (group.schedule && !group.schedule.enabled) return { standing: 'paused', restorable_at: made, reasons: [reason('paused', 'The schedule is switched off.', 'Switch the schedule on when it should be backed up again.', { group: group.name })] };
  return { standing: 'protected', restorable_at: made, reasons: [] };
}

const RANK = ['protected', 'paused', 'at_risk', 'stale', 'never'];

/** Gives a host and its groups their verdicts. */
export function judge(host, jobs) {
  for (const group of host.groups) {
    group.verdict = judgeGroup(host, group, jobs);
    const last = jobs.filter((it) => it.host_id === host.id && it.group === group.name && it.finished_at).sort((a, b) => b.finished_at.localeCompare(a.finished_at))[0];
    group.last_backup = last && { job_id: last.id, group: last.group, status: last.status, finished_at: last.finished_at, snapshot_id: last.snapshot_id };
  }
  const reasons = host.groups.flatMap((it) => it.verdict.reasons);
  let standing = RANK[Math.max(-1, ...host.groups.map((it) => RANK.indexOf(it.verdict.standing)))] ?? 'never';
  if (host.state === 'pending') reasons.push(reason('not_enrolled', 'No agent has enrolled for this host yet.', 'Run the enrolment command on the machine; `holdfast host renew` makes a new one.', { since: host.created_at }));
  else if (host.groups.length === 0) reasons.push(reason('no_groups', 'Nothing of this host is backed up: it has no source groups.', 'Add a source group that says what to back up.'));
  if (host.state === 'offline' && Date.now() - Date.parse(host.last_seen_at) > HOUR) {
    reasons.push(reason('offline', 'The agent has been away for long.', 'Check power, network and the holdfast-agent service on the host.', { since: host.last_seen_at }));
    if (standing === 'protected') standing = 'at_risk';
  }
  const made = host.groups.map((it) => it.verdict.restorable_at).filter(Boolean).sort()[0];
  host.verdict = { standing, reasons, restorable_at: made };
  return host;
}

const RULES = { failed: 'critical', partial: 'warning', stale: 'critical', offline: 'warning' };
const subject = (host, group) => ({ host_id: host.id, host_name: host.name, group });

/** One alert for each reason that has a rule. */
export function alertsOf(hosts) {
  const found = [];
  for (const host of hosts) {
    for (const it of host.verdict.reasons) {
      const severity = RULES[it.code];
      if (!severity) continue;
      const since = it.since ?? iso(Date.now() - HOUR);
      found.push({ id: randomUUID(), rule: it.code, severity, state: 'open', title: `${host.name}${it.group ? `/${it.group}` : ''}: ${it.message}`, cause: it.message, action: it.action, subjects: [subject(host, it.group)], count: 1, since, first_seen_at: since, last_seen_at: iso(Date.now() - 60_000) });
    }
  }
  return found;
}

/** Alerts of the past. */
export function resolvedAlerts(hosts) {
  return hosts.slice(0, 5).map((host, index) => {
    const at = Date.now() - (index + 1) * 19 * HOUR;
    const rule = ['failed', 'offline', 'missed', 'offline', 'partial'][index];
    return { id: randomUUID(), rule, severity: index % 2 ? 'warning' : 'critical', state: 'resolved', title: `${host.name} ${['could not be backed up', 'was away for longer than allowed', 'missed a planned run', 'was away for longer than allowed', 'left files out'][index]}.`, cause: 'The repository did not answer in time.', action: 'Nothing is left to do.', subjects: [subject(host, host.groups[0]?.name)], count: index + 1, since: iso(at), first_seen_at: iso(at), last_seen_at: iso(at + HOUR), resolved_at: iso(at + 2 * HOUR), acknowledged_at: index ? undefined : iso(at + HOUR / 2), acknowledged_by: index ? undefined : 'mira' };
  });
}

/** Letters of the last 30 days, the newest last. */
export function daysOf(hosts, jobs) {
  const today = Math.floor(Date.now() / 86_400_000);
  const rows = {};
  for (const host of hosts.slice(0, 400)) {
    if (host.state === 'pending' || host.groups.length === 0) continue;
    const salt = [...host.name].reduce((sum, it) => sum * 33 + it.charCodeAt(0), 7) % 1009;
    const row = Array.from({ length: 30 }, (_, day) => {
      const chance = (salt * (day + 3) * 7919) % 251;
      if (host.name === 'kiosk-2') return day < 26 ? 'g' : 'm';
      if (host.name === 'nas-1') return chance < 12 ? 'w' : 'g';
      return chance < 3 ? 'f' : chance < 7 ? 'w' : chance === 9 ? 'm' : 'g';
    });
    for (const job of jobs.filter((it) => it.host_id === host.id && it.finished_at)) {
      const index = 29 - (today - Math.floor(Date.parse(job.finished_at) / 86_400_000));
      if (job.status === 'failed' && row[index] === 'g') row[index] = 'w';
      if (job.status === 'partial') row[index] = 'w';
    }
    rows[host.id] = row.join('');
  }
  return { from: iso(Date.now() - 29 * 86_400_000).slice(0, 10), days: 30, hosts: rows };
}
