// What a job under way says in words. Pure.

import type { Job } from '../../api/types';
import { duration, eta, percent, plain, plural, rate, UNKNOWN, whole } from '../../format';
import { texts } from '../../texts';

/** The part done; `undefined` while nothing can be said, so that the bar does not lie. */
export function fraction(job: Job): number | undefined {
  if (job.progress) return job.progress.percent_done;
  return job.status === 'running' ? undefined : 0;
}

/** What a job works on: its source group, or the kind of work where there is none. */
export function subjectOf(job: Job): string {
  const noun = texts.operations[job.operation]?.noun ?? job.operation;
  if (job.operation === 'backup') return plain(job.group) || noun;
  return job.group ? `${plain(job.group)}, ${noun.toLowerCase()}` : noun;
}

/** Why a job does not move, or what it is doing when that has no number yet. */
export function remark(job: Job): string {
  if (job.cancel_requested) return texts.jobs.cancelling;
  if (job.not_before) return texts.jobs.waitingForTry(job.attempt);
  if (job.waiting_for) return texts.jobs.waitingForJob(job.waiting_for.operation, job.waiting_for.host_name);
  if (job.status === 'queued') return job.host_online ? texts.jobs.waitingForAgent : texts.jobs.waitingForHost;
  if (!job.host_online) return texts.jobs.disconnected;
  if (job.status === 'running' && !job.progress) return texts.jobs.scanning;
  return '';
}

export function percentOf(job: Job): string {
  return job.progress ? percent(job.progress.percent_done) : UNKNOWN;
}

export function speedOf(job: Job): string {
  return job.status === 'running' ? rate(job.progress?.throughput_bps) : UNKNOWN;
}

export function filesOf(job: Job): string {
  const progress = job.progress;
  if (!progress) return UNKNOWN;
  return progress.total_files > 0
    ? texts.jobs.files(whole(progress.files_done), whole(progress.total_files))
    : plural(progress.files_done, 'file');
}

export function leftOf(job: Job): string {
  const left = job.status === 'running' && job.progress ? eta(job.progress) : undefined;
  return left === undefined ? UNKNOWN : texts.jobs.left(duration(left));
}
