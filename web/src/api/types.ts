// The words of the API. `generated.ts` comes from the server's OpenAPI document (`npm run api`);
// here stands what that document cannot say: what operations take and give, and restic's own summary.

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
/** A host as the live feed tells it; the rest of it is asked for where it is shown. */
export type Host = Schemas['HostBrief'];
export type WholeHost = Schemas['Host'];
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
export type Entry = Schemas['Entry'];
export type EntryPage = Schemas['EntryPage'];
export type FoundPage = Schemas['FoundPage'];
export type Amount = Schemas['Amount'];
export type Difference = Schemas['Difference'];

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

export type Retention = Schemas['Retention'];

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

export type Operation = Schemas['JobOperation'];

/** What the document calls an object is told as its operation has it. */
export type Job = Omit<Schemas['Job'], 'stats' | 'parameters' | 'result'> & { stats?: Stats | null; parameters?: unknown; result?: unknown };

export type SizePoint = Schemas['SizePoint'];
export type Maintenance = Schemas['Maintenance'];
export type MaintenanceKind = 'forget' | 'prune' | 'check';

/** A repository with all that is known about it. */
export type RepositoryDetail = Schemas['RepositoryDetail'];

export type SignInEntry = Schemas['SignedIn'];
export type Role = Schemas['Role'];
export type User = Schemas['User'];
export type Token = Schemas['ApiToken'];

export type AuditEntry = Schemas['AuditEntry'];

/** What the live socket says of the fleet, in the page's own words where it has some. */
export type FleetEvent =
  | Exclude<Schemas['FleetEvent'], { kind: 'snapshot' | 'job' }>
  | (Omit<Extract<Schemas['FleetEvent'], { kind: 'snapshot' }>, 'jobs' | 'alerts' | 'parts'> & { jobs: Job[]; alerts?: Alert[]; parts?: number })
  | (Omit<Extract<Schemas['FleetEvent'], { kind: 'job' }>, 'job'> & { job: Job })
  | { kind: 'ping' };

/** What it says of a log that the page follows, and what it is told to do so. */
export type LogEvent = Schemas['LogEvent'];
export type LogWish = Schemas['LogWish'];

export type LiveEvent = FleetEvent | LogEvent;

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
