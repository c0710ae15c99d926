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

export type Group = Schemas['Group'] & {
  /** Not yet told by the server; until then the newest known job of the group stands in. */
  last_backup?: LastBackup | null;
};

export type Host = Omit<Schemas['Host'], 'groups'> & { groups: Group[] };

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

export type Job = Omit<Schemas['Job'], 'stats'> & { stats?: Stats | null };

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
