// The words of the API. `generated.ts` comes from the server's OpenAPI document (`npm run api`);
// here stands what that document cannot say: restic's own summary and the live socket.

import type { components } from './generated';

type Schemas = components['schemas'];

export type Status = Schemas['JobStatus'];
export type HostState = Schemas['HostState'];
export type Schedule = Schemas['Schedule'];
export type LastBackup = Schemas['LastBackup'];
export type Progress = Schemas['Progress'];
export type JobError = Schemas['JobError'];
export type Snapshot = Schemas['Snapshot'];
export type Repository = Schemas['Repository'];
export type LogLine = Schemas['LogLine'];
export type LogGap = Schemas['LogGap'];
export type LogPage = Schemas['LogPage'];
export type Me = Schemas['Me'];
export type Enrolment = Schemas['EnrolmentToken'];
export type Group = Schemas['Group'];
export type Host = Schemas['Host'];
export type Verdict = Schemas['Verdict'];
export type Standing = Schemas['Standing'];
export type Reason = Schemas['VerdictReason'];
export type Alert = Schemas['Alert'];
export type AlertPage = Schemas['AlertPage'];
export type AlertRule = Schemas['AlertRule'];
export type Rule = Schemas['AlertRuleSetting'];
export type Severity = Schemas['Severity'];
export type Silence = Schemas['Silence'];
export type MakeSilence = Schemas['MakeSilence'];
export type Channel = Schemas['Channel'];
export type AddChannel = Schemas['AddChannel'];
export type Delivery = Schemas['Delivery'];
export type Evaluation = Schemas['Evaluation'];

/** How days went: one letter a day by the host's id. */
export type Days = Schemas['Days'];
export type Preview = Schemas['Preview'];
export type Planned = Schemas['Planned'];

/** What a snapshot holds at one place. */
export interface Entry {
  name: string;
  kind: 'file' | 'directory' | 'symlink' | 'other';
  size_bytes?: number | null;
  mode: number;
  uid: number;
  gid: number;
  modified_at?: string | null;
}

export interface EntryPage {
  entries: Entry[];
  more: boolean;
}

export interface FoundPage {
  entries: (Entry & { path: string })[];
  more: boolean;
}

export interface Amount {
  files: number;
  directories: number;
  others: number;
  size_bytes: number;
}

export interface Difference {
  changes: { path: string; kind: 'added' | 'removed' | 'content' | 'metadata' | 'kind' | 'other' }[];
  omitted: number;
  changed_files: number;
  added: Amount;
  removed: Amount;
}

/** What a restore wrote, or would write. */
export interface Restored {
  target: string;
  dry_run: boolean;
  total_files?: number | null;
  files_restored?: number | null;
  files_skipped?: number | null;
  total_bytes?: number | null;
  bytes_restored?: number | null;
  error_count: number;
}

export interface RestoreOrder {
  snapshot_id: string;
  paths: string[];
  target: 'original' | { directory: string };
  overwrite: 'always' | 'if_changed' | 'if_newer' | 'never';
  dry_run?: boolean;
  verify?: boolean;
}

/** Which snapshots are kept; what this page has no field for is carried along. */
export interface Retention {
  keep_last?: number;
  keep_hourly?: number;
  keep_daily?: number;
  keep_weekly?: number;
  keep_monthly?: number;
  keep_yearly?: number;
  [more: string]: unknown;
}

/** restic's own summary; an old restic leaves fields out. */
export interface Stats {
  files_new?: number;
  files_changed?: number;
  files_unmodified?: number;
  data_added?: number;
  total_files_processed?: number;
  total_bytes_processed?: number;
  total_duration?: number;
}

export type Operation =
  | 'backup' | 'init' | 'snapshots' | 'ls' | 'dump' | 'diff' | 'restore' | 'tag' | 'forget' | 'prune' | 'check' | 'stats' | 'unlock';

export type Job = Omit<Schemas['Job'], 'stats' | 'operation'> & {
  operation: Operation;
  stats?: Stats | null;
  repository_id?: string | null;
  parameters?: unknown;
  result?: unknown;
  retry_of?: string | null;
  pausable?: boolean;
  cancellable?: boolean;
};

export type SizePoint = Schemas['SizePoint'];
export type Maintenance = Schemas['Maintenance'];
export type MaintenanceKind = 'forget' | 'prune' | 'check';

/** A repository with all that is known about it. */
export type RepositoryDetail = Schemas['RepositoryDetail'];

export type SignInEntry = Schemas['SignedIn'];
export type Role = Schemas['Role'];
export type User = Schemas['User'];
export type Token = Schemas['ApiToken'];

export interface AuditEntry {
  seq: number;
  at: string;
  actor: string;
  actor_kind: string;
  address: string;
  action: string;
  subject: string;
  before?: unknown;
  after?: unknown;
  hash: string;
}

/** What the live socket says. Every event but `ping` carries a rising `rev`. */
export type LiveEvent =
  | { kind: 'snapshot'; rev: number; hosts: Host[]; jobs: Job[]; alerts?: Alert[] }
  | { kind: 'host'; rev: number; host: Host }
  | { kind: 'host.removed'; rev: number; host_id: string }
  | { kind: 'alert'; rev: number; alert: Alert }
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
