// An invented fleet for developing and testing the page: hosts, jobs that move, logs, snapshots.

import { randomBytes, randomUUID } from 'node:crypto';

import { judge } from './verdict.mjs';

const GIB = 1024 ** 3;
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

export const iso = (milliseconds) => new Date(milliseconds).toISOString();
const hex = (bytes) => randomBytes(bytes).toString('hex');

const REPOSITORIES = [
  { name: 'offsite', kind: 's3', location: 's3:https://s3.eu-central-1.example.net/holdfast', size: 3140 * GIB },
  { name: 'vault', kind: 'sftp', location: 'sftp:backup@vault.lan:/srv/restic', size: 910 * GIB },
].map((it, index) => ({
  id: randomUUID(),
  name: it.name,
  kind: it.kind,
  location: it.location,
  created_at: iso(Date.now() - (210 - index * 90) * DAY),
  snapshot_count: 0,
  total_size_bytes: it.size,
  host_count: 0,
}));

const PLANS = {
  nightly: { cron: '30 2 * * *', in_words: 'Every day at 02:30', next: 9 * HOUR },
  hourly: { cron: '15 * * * *', in_words: 'Every hour at minute 15', next: 22 * MINUTE },
  weekly: { cron: '0 4 * * 0', in_words: 'Every Sunday at 04:00', next: 3 * DAY },
};

export function schedule(plan, zone = 'Europe/Berlin') {
  const { cron, in_words, next } = PLANS[plan];
  return { id: randomUUID(), cron, in_words, time_zone: zone, enabled: true, next_at: iso(Date.now() + next) };
}

export function group(name, repository, includes, plan, excludes = []) {
  const target = REPOSITORIES.find((it) => it.name === repository) ?? REPOSITORIES[0];
  return {
    name,
    repository_id: target.id,
    repository_name: target.name,
    includes,
    excludes,
    schedule: plan ? schedule(plan) : undefined,
    objective_seconds: plan === 'hourly' ? 9000 : plan === 'weekly' ? 9 * 86_400 : 2 * 86_400,
    objective_source: plan ? 'schedule' : 'default',
    verdict: { standing: 'never', reasons: [] },
  };
}

const ABILITIES = ['backup', 'cancel', 'pause', 'resume', 'progress', 'result', 'logs', 'snapshots', 'repository_stats', 'configure', 'schedule', 'restore', 'look', 'maintain', 'acknowledge'];
/** What can be asked of an agent that speaks backupy. */
const FEWER = ['backup', 'cancel', 'progress', 'result', 'logs', 'configure'];

/** What a host looks like once its agent has said hello. */
export function host(name, over = {}) {
  const state = over.state ?? 'online';
  const groups = over.groups ?? [group('system', 'offsite', ['/etc', '/home', '/var/lib'], 'nightly', ['*.tmp'])];
  const next = groups.map((it) => it.schedule?.next_at).filter(Boolean).sort()[0];
  return {
    id: randomUUID(),
    name,
    state,
    last_seen_at: iso(Date.now() - (state === 'online' ? 4000 : 95 * MINUTE)),
    connected_since: state === 'online' ? iso(Date.now() - 3.2 * DAY) : undefined,
    agent_version: '0.1.0',
    restic_version: '0.18.0',
    hostname: `${name}.example.net`,
    os: 'linux',
    arch: 'x86_64',
    time_zone: 'Europe/Berlin',
    created_at: iso(Date.now() - 120 * DAY),
    groups,
    next_backup_at: next,
    running_jobs: [],
    reconnects: 3,
    queue_depth: 0,
    clock_offset_ms: 12,
    host_group: /^(web|db|mail|git)-/.test(name) ? 'dmz' : /^(nas|laptop|kiosk)/.test(name) ? 'office' : '',
    labels: name.startsWith('web-') ? { rack: 'b7', role: 'frontend' } : {},
    capabilities: ABILITIES,
    verdict: { standing: 'protected', reasons: [] },
    ...over,
  };
}

function sampleHosts() {
  const database = () => group('database', 'vault', ['/var/lib/postgresql', '/var/backups/pg'], 'hourly');
  return [
    host('web-1'),
    host('web-2'),
    host('web-3', { restic_version: '0.16.4' }),
    host('db-1', { groups: [database(), group('system', 'offsite', ['/etc'], 'nightly')] }),
    host('db-2', { groups: [database()], arch: 'aarch64' }),
    host('mail-1'),
    host('git-1', { dialect: 'backupy', capabilities: FEWER, groups: [group('repositories', 'offsite', ['/srv/git', '/var/opt/gitlab/backups'], 'nightly', ['*.lock', 'tmp/'])] }),
    host('nas-1', { groups: [group('photos', 'offsite', ['/volume1/photos'], 'weekly'), group('documents', 'vault', ['/volume1/documents'], 'nightly')] }),
    host('laptop-mira', { os: 'macos', arch: 'aarch64', state: 'offline', groups: [group('documents', 'offsite', ['/Users/mira'], 'nightly', ['node_modules', '.cache'])] }),
    host('build-7', { groups: [group('artifacts', 'vault', ['/srv/artifacts'])] }),
    host('kiosk-2', { arch: 'armv7', restic_version: '0.14.0' }),
    host('new-router', { state: 'pending', groups: [], agent_version: '', restic_version: '', hostname: '', os: '', arch: '', time_zone: '', last_seen_at: undefined, connected_since: undefined, created_at: iso(Date.now() - 6 * MINUTE) }),
  ];
}

export function job(target, name, over = {}) {
  return {
    id: randomUUID(),
    host_id: target.id,
    host_name: target.name,
    operation: 'backup',
    group: name,
    status: 'queued',
    cause: 'manual',
    created_at: iso(Date.now()),
    attempt: 1,
    host_online: target.state === 'online',
    cancel_requested: false,
    repository_id: target.groups.find((it) => it.name === name)?.repository_id,
    pausable: true,
    cancellable: true,
    ...over,
  };
}

export function endedJob(target, name, ago, seconds, status = 'succeeded', error) {
  const end = Date.now() - ago;
  const good = status === 'succeeded' || status === 'partial';
  return job(target, name, {
    status,
    error,
    cause: 'schedule',
    created_at: iso(end - seconds * 1000 - 900),
    started_at: iso(end - seconds * 1000),
    finished_at: iso(end),
    exit_code: status === 'succeeded' ? 0 : status === 'partial' ? 3 : 1,
    snapshot_id: good ? hex(32) : undefined,
    stats: good
      ? {
          files_new: 12 + (seconds % 90),
          files_changed: 40 + (seconds % 31),
          files_unmodified: 182_440 + seconds * 7,
          data_added: Math.round(seconds * 3.7 * 1024 ** 2),
          total_files_processed: 182_500,
          total_bytes_processed: 41 * GIB + seconds * 1024 ** 2,
          total_duration: seconds,
        }
      : undefined,
  });
}

export const LOCKED = {
  code: 'repository_locked',
  message: 'The repository vault is locked by another restic (PID 4121 on db-2).',
  action: 'Wait for it to end, or remove the lock once no restic runs there any more.',
};

export const UNREADABLE = {
  code: 'source_unreadable',
  message: '3 files could not be read, the first is /var/lib/docker/overlay2/l/QXV7.',
  action: 'Give the agent the right to read them, or leave them out of the source group.',
};

const FILES = [
  '/home/anna/Projects/atlas/node_modules/.cache/babel/5f21c0.json',
  '/var/lib/postgresql/16/main/base/16401/2619_vm',
  '/srv/media/2026/expedition/raw/DSC_04417.NEF',
  '/var/log/journal/a91f/system@000622b1.journal',
  '/home/jo/Mail/archive/2019/cur/1576.M20.host:2,S',
];

/** A job's next step: bytes, files, speed and the files being read. */
export function step(it, seconds) {
  const before = it.progress;
  const total = before?.total_bytes ?? Math.round((12 + Math.random() * 60) * GIB);
  const files = before?.total_files ?? Math.round(60_000 + Math.random() * 300_000);
  const wave = 1 + 0.45 * Math.sin(Date.now() / 5200) + 0.25 * Math.sin(Date.now() / 1700) + 0.12 * Math.random();
  const speed = Math.round((it.base_speed ?? 150) * wave * 1024 ** 2);
  const done = Math.min(total, (before?.bytes_done ?? Math.round(total * (it.from ?? 0.02))) + Math.round(speed * seconds));
  const part = done / total;
  const file = Math.floor(Date.now() / 900);
  return {
    percent_done: part,
    files_done: Math.floor(files * part),
    total_files: files,
    bytes_done: done,
    total_bytes: total,
    eta_seconds: Math.ceil((total - done) / speed),
    throughput_bps: speed,
    current_files: [FILES[file % FILES.length], FILES[(file + 2) % FILES.length]],
    error_count: 0,
  };
}

export function snapshots(target, jobs) {
  return jobs
    .filter((it) => it.host_id === target.id && it.snapshot_id && it.operation === 'backup')
    .map((it) => {
      const source = target.groups.find((found) => found.name === it.group) ?? target.groups[0];
      return {
        id: it.snapshot_id,
        short_id: it.snapshot_id.slice(0, 8),
        time: it.started_at,
        hostname: target.hostname,
        paths: source?.includes ?? [],
        tags: [it.group],
        size_bytes: it.stats?.total_bytes_processed,
        file_count: it.stats?.total_files_processed,
        repository_id: source?.repository_id ?? '',
        repository_name: source?.repository_name ?? '',
      };
    });
}

/** The whole invented world; `scene` picks how it fares. */
export function world(scene = 'mixed', count = 0) {
  if (scene === 'empty') return { hosts: [], jobs: [], repositories: [] };
  const hosts = sampleHosts();
  for (let i = 0; i < count; i += 1) hosts.push(host(`node-${String(i).padStart(5, '0')}`));
  const find = (name) => hosts.find((it) => it.name === name);
  const jobs = [];
  for (const target of hosts.filter((it) => it.state !== 'pending').slice(0, 60)) {
    for (const source of target.groups) {
      const hourly = source.schedule?.cron.startsWith('15 *');
      const salt = [...(target.name + source.name)].reduce((sum, letter) => sum * 31 + letter.charCodeAt(0), 7) % 997;
      for (let run = scene === 'mixed' && target.name === 'kiosk-2' ? 4 : 0; run < 6; run += 1) {
        const ago = hourly ? 38 * MINUTE + run * HOUR : 11 * HOUR + run * DAY - (salt % 47) * MINUTE;
        jobs.push(endedJob(target, source.name, ago, hourly ? 21 + (salt % 40) + run : 90 + ((run * 137 + salt * 61) % 900)));
      }
    }
  }
  if (scene === 'mixed') {
    jobs.push(endedJob(find('db-2'), 'database', 21 * MINUTE, 4, 'failed', LOCKED));
    jobs.push(endedJob(find('mail-1'), 'system', 19 * MINUTE, 402, 'partial', UNREADABLE));
  } else {
    hosts.splice(hosts.indexOf(find('new-router')), 1);
    Object.assign(find('laptop-mira'), { state: 'online', connected_since: iso(Date.now() - HOUR) });
    find('build-7').groups[0].schedule = schedule('nightly');
  }
  for (const target of hosts) {
    const last = jobs.filter((it) => it.host_id === target.id).sort((a, b) => b.finished_at.localeCompare(a.finished_at))[0];
    const old = last ?? (target.state === 'pending' ? undefined : endedJob(target, 'system', 3 * HOUR, 90));
    target.last_backup = old && { job_id: old.id, group: old.group, status: old.status, finished_at: old.finished_at, snapshot_id: old.snapshot_id };
  }
  const running = (name, source, from, speed) => {
    const it = job(find(name), source, { status: 'running', cause: 'schedule', started_at: iso(Date.now() - 4 * MINUTE), created_at: iso(Date.now() - 4 * MINUTE - 800) });
    Object.defineProperties(it, { from: { value: from }, base_speed: { value: speed } });
    it.progress = step(it, 0);
    jobs.push(it);
    find(name).running_jobs.push(it.id);
  };
  running('nas-1', 'photos', 0.34, 182);
  running('git-1', 'repositories', 0.71, 96);
  running('web-2', 'system', 0.015, 240);
  for (const it of REPOSITORIES) {
    it.host_count = hosts.filter((target) => target.groups.some((source) => source.repository_id === it.id)).length;
    it.snapshot_count = jobs.filter((one) => one.snapshot_id && one.repository_id === it.id).length;
    it.sizes = Array.from({ length: 31 }, (_, day) => ({ at: iso(Date.now() - (30 - day) * DAY), total_size_bytes: Math.round(it.total_size_bytes * (0.9 + day * 0.0033 + (day % 7 === 3 ? 0.004 : 0))), raw: Math.round(it.total_size_bytes * (0.3 + day * 0.001)) }));
  }
  for (const target of hosts) {
    if (!target.name.startsWith('node-')) judge(target, jobs);
  }
  return { hosts, jobs, repositories: [...REPOSITORIES] };
}
