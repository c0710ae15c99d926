// The shapes of the REST API and of the live socket, mirrored by hand from the API's contract.
// `npm run api` generates the same from the server's OpenAPI document.

export type HostState = 'online' | 'offline' | 'pending';
export type Status =
  | 'queued'
  | 'running'
  | 'paused'
  | 'succeeded'
  | 'partial'
  | 'failed'
  | 'cancelled'
  | 'interrupted'
  | 'missed';

export interface Schedule {
  id: string;
  cron: string;
  time_zone: string;
  enabled: boolean;
  in_words: string;
  next_at?: string | null;
}

export interface LastBackup {
  job_id: string;
  group: string;
  status: Status;
  finished_at: string;
  snapshot_id?: string | null;
}

export interface Group {
  name: string;
  repository_id: string;
  repository_name: string;
  includes: string[];
  excludes: string[];
  schedule?: Schedule | null;
  /** Sent by newer servers only; without it the newest known job of the group stands in. */
  last_backup?: LastBackup | null;
}

export interface Host {
  id: string;
  name: string;
  state: HostState;
  last_seen_at?: string | null;
  connected_since?: string | null;
  agent_version?: string | null;
  restic_version?: string | null;
  hostname?: string | null;
  os?: string | null;
  arch?: string | null;
  time_zone?: string | null;
  created_at: string;
  groups: Group[];
  last_backup?: LastBackup | null;
  next_backup_at?: string | null;
  running_jobs: string[];
  reconnects?: number;
  queue_depth?: number;
  clock_offset_ms?: number | null;
}

export interface Progress {
  percent_done: number;
  files_done: number;
  total_files: number;
  bytes_done: number;
  total_bytes: number;
  eta_seconds?: number | null;
  throughput_bps: number;
  current_files?: string[];
  error_count?: number;
}

export interface JobError {
  code: string;
  message: string;
  action: string;
}

/** restic's own summary; an old restic leaves fields out. */
export interface Stats {
  files_new?: number;
  files_changed?: number;
  files_unmodified?: number;
  data_added?: number;
  data_added_packed?: number;
  total_files_processed?: number;
  total_bytes_processed?: number;
  total_duration?: number;
}

export interface Job {
  id: string;
  host_id: string;
  host_name: string;
  operation: string;
  group: string;
  status: Status;
  cause: 'manual' | 'schedule';
  created_at: string;
  started_at?: string | null;
  finished_at?: string | null;
  exit_code?: number | null;
  snapshot_id?: string | null;
  attempt: number;
  error?: JobError | null;
  stats?: Stats | null;
  progress?: Progress | null;
  host_online: boolean;
  cancel_requested: boolean;
}

export interface Snapshot {
  id: string;
  short_id: string;
  time: string;
  hostname: string;
  paths: string[];
  tags: string[];
  size_bytes?: number | null;
  file_count?: number | null;
  repository_id: string;
  repository_name: string;
}

export interface Repository {
  id: string;
  name: string;
  kind: string;
  location: string;
  created_at: string;
  snapshot_count?: number | null;
  total_size_bytes?: number | null;
  host_count: number;
}

export interface LogLine {
  seq: number;
  ts: string;
  stream: 'stdout' | 'stderr' | 'event';
  payload: string;
}

export interface LogGap {
  from: number;
  to: number;
}

export interface LogPage {
  lines: LogLine[];
  gaps: LogGap[];
  next?: number | string | null;
}

export interface Me {
  name: string;
  role: string;
}

export interface Enrolment {
  host_id: string;
  name: string;
  enrolment_token: string;
  expires_at: string;
}

/** What the live socket says. Every event but `ping` carries a rising `rev`. */
export type LiveEvent =
  | { kind: 'snapshot'; rev: number; hosts: Host[]; jobs: Job[] }
  | { kind: 'host'; rev: number; host: Host }
  | { kind: 'host.removed'; rev: number; host_id: string }
  | { kind: 'job'; rev: number; job: Job }
  | { kind: 'job.progress'; rev: number; job_id: string; progress: Progress }
  | { kind: 'ping' };

const ENDED: ReadonlySet<Status> = new Set([
  'succeeded',
  'partial',
  'failed',
  'cancelled',
  'interrupted',
  'missed',
]);

/** Whether a job in this state never changes again. */
export function isEnded(status: Status): boolean {
  return ENDED.has(status);
}
