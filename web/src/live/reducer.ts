// What the live socket has told so far, and how one more event changes it. Pure: no clock, no
// socket. A batch is applied at once so that a busy fleet costs one copy per frame, not one per event.

import { isEnded, type Alert, type FleetEvent, type Host, type Job, type Progress } from '../api/types';
import { byText } from '../order';

/** One point of a job's speed, by this browser's clock. */
export interface Sample {
  at: number;
  bytesPerSecond: number;
}

export interface LiveState {
  /** The newest revision seen; -1 before the first snapshot. */
  rev: number;
  /** Hosts of a snapshot whose end is still to come. */
  parts: readonly (readonly Host[])[];
  hosts: ReadonlyMap<string, Host>;
  jobs: ReadonlyMap<string, Job>;
  speeds: ReadonlyMap<string, readonly Sample[]>;
  /** Those that are not resolved. */
  alerts: ReadonlyMap<string, Alert>;
}

export interface Applied {
  state: LiveState;
  /** An event spoke of something never told: the rest cannot be trusted, a new snapshot is due. */
  gap: boolean;
}

/** Ended jobs kept in a page that stays open for weeks. */
export const ENDED_KEPT = 200;
/** Speed samples kept per job: ten minutes at the four per second the server sends at most. */
export const SAMPLES_KEPT = 2400;

export const EMPTY: LiveState = { rev: -1, parts: [], hosts: new Map(), jobs: new Map(), speeds: new Map(), alerts: new Map() };

/** The state after one event. */
export function apply(state: LiveState, event: FleetEvent, at: number): Applied {
  return applyAll(state, [event], at);
}

/** The state after some events, in order. Stops at the first gap. */
export function applyAll(state: LiveState, events: readonly FleetEvent[], at: number): Applied {
  const draft = new Draft(state);
  for (const event of events) {
    if (!draft.take(event, at)) return { state: draft.finish(), gap: true };
  }
  return { state: draft.finish(), gap: false };
}

/** Copies each map only when something in it changes, so that what stands still stays identical. */
class Draft {
  private rev: number;
  private parts: readonly (readonly Host[])[];
  private hosts?: Map<string, Host>;
  private jobs?: Map<string, Job>;
  private speeds?: Map<string, readonly Sample[]>;
  private alerts?: Map<string, Alert>;

  constructor(private readonly base: LiveState) {
    this.rev = base.rev;
    this.parts = base.parts;
  }

  /** False when the event cannot follow what is known. */
  take(event: FleetEvent, at: number): boolean {
    if (event.kind === 'ping') return true;
    if (event.kind === 'snapshot') return this.restart(event);
    if (event.kind === 'snapshot.part') {
      // The first one also ends what a line that was lost has left behind.
      this.parts = event.number === 1 ? [event.hosts] : [...this.parts, event.hosts];
      return true;
    }
    if (this.rev < 0) return false;
    // A revision already seen repeats what is known.
    if (event.rev <= this.rev) return true;
    this.rev = event.rev;
    return this.increment(event, at);
  }

  private increment(event: Exclude<FleetEvent, { kind: 'ping' | 'snapshot' | 'snapshot.part' }>, at: number): boolean {
    switch (event.kind) {
      case 'host':
        this.writeHosts().set(event.host.id, event.host);
        return true;
      case 'host.removed':
        this.writeHosts().delete(event.host_id);
        return true;
      case 'alert':
        this.setAlert(event.alert);
        return true;
      case 'job':
        this.setJob(event.job, at);
        return true;
      case 'job.progress':
        return this.setProgress(event.job_id, event.progress, at);
      default:
        // A newer server may say more than this page understands.
        return true;
    }
  }

  private restart(event: Extract<FleetEvent, { kind: 'snapshot' }>): boolean {
    const wanted = event.parts ?? 0;
    if (wanted > 0 && this.parts.length !== wanted) return false;
    const parts = wanted > 0 ? this.parts : [];
    this.rev = event.rev;
    this.hosts = new Map([...parts, event.hosts].flat().map((host) => [host.id, host]));
    this.parts = [];
    this.jobs = new Map(event.jobs.map((job) => [job.id, job]));
    this.alerts = new Map(event.alerts?.map((alert) => [alert.id, alert]));
    const jobs = this.jobs;
    this.speeds = new Map([...this.base.speeds].filter(([id]) => jobs.has(id)));
    return true;
  }

  private setAlert(alert: Alert): void {
    this.alerts ??= new Map(this.base.alerts);
    if (alert.state === 'resolved') this.alerts.delete(alert.id);
    else this.alerts.set(alert.id, alert);
  }

  private setJob(job: Job, at: number): void {
    const known = this.readJobs().get(job.id);
    // A change of state may come without progress; the bar must not jump back to nothing.
    const progress = isEnded(job.status) ? undefined : (job.progress ?? known?.progress ?? undefined);
    this.writeJobs().set(job.id, { ...job, progress });
    if (job.progress && job.status === 'running') this.sample(job.id, job.progress, at);
  }

  private setProgress(id: string, progress: Progress, at: number): boolean {
    const job = this.readJobs().get(id);
    if (!job) return false;
    // Progress is conflated and may be overtaken by the job's end.
    if (isEnded(job.status)) return true;
    this.writeJobs().set(id, { ...job, progress });
    this.sample(id, progress, at);
    return true;
  }

  private sample(id: string, progress: Progress, at: number): void {
    this.speeds ??= new Map(this.base.speeds);
    const samples = this.speeds.get(id) ?? [];
    const next = [...samples, { at, bytesPerSecond: Math.max(0, progress.throughput_bps) }];
    this.speeds.set(id, next.slice(-SAMPLES_KEPT));
  }

  private readJobs(): ReadonlyMap<string, Job> {
    return this.jobs ?? this.base.jobs;
  }

  private writeJobs(): Map<string, Job> {
    return (this.jobs ??= new Map(this.base.jobs));
  }

  private writeHosts(): Map<string, Host> {
    return (this.hosts ??= new Map(this.base.hosts));
  }

  finish(): LiveState {
    if (this.jobs) this.forgetOld(this.jobs);
    return {
      rev: this.rev,
      parts: this.parts,
      hosts: this.hosts ?? this.base.hosts,
      jobs: this.jobs ?? this.base.jobs,
      speeds: this.speeds ?? this.base.speeds,
      alerts: this.alerts ?? this.base.alerts,
    };
  }

  private forgetOld(jobs: Map<string, Job>): void {
    if (jobs.size <= ENDED_KEPT * 2) return;
    const ended = [...jobs.values()].filter((job) => isEnded(job.status)).sort(newestFirst);
    for (const job of ended.slice(ENDED_KEPT)) {
      jobs.delete(job.id);
      if (this.readSpeeds().has(job.id)) (this.speeds ??= new Map(this.base.speeds)).delete(job.id);
    }
  }

  private readSpeeds(): ReadonlyMap<string, readonly Sample[]> {
    return this.speeds ?? this.base.speeds;
  }
}

/** Newest first; equal times by id, so that the order never flickers. */
export function newestFirst(a: Job, b: Job): number {
  return byText(b.created_at, a.created_at) || byText(b.id, a.id);
}
