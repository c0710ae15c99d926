// The REST client: typed answers, and errors that always say what to do.

import { at } from '../paths';
import { texts } from '../texts';
import type {
  Enrolment,
  Group,
  Host,
  Job,
  LogPage,
  Me,
  Repository,
  Snapshot,
  Status,
} from './types';

/** A request that did not do what it was for. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly action: string,
  ) {
    super(message);
    this.name = 'ApiError';
  }
}

/** Called for every 401 of a request that needs a sign-in. */
let onSignedOut: () => void = () => {};

export function whenSignedOut(run: () => void): void {
  onSignedOut = run;
}

async function request<T>(method: string, path: string, body?: unknown): Promise<T> {
  const response = await send(method, path, body);
  if (!response.ok) throw await failure(response, path);
  if (response.status === 204) return undefined as T;
  const text = await response.text();
  return (text ? JSON.parse(text) : undefined) as T;
}

async function send(method: string, path: string, body: unknown): Promise<Response> {
  const init: RequestInit = { method, credentials: 'same-origin', headers: { accept: 'application/json' } };
  if (body !== undefined) {
    init.headers = { ...init.headers, 'content-type': 'application/json' };
    init.body = JSON.stringify(body);
  }
  try {
    return await fetch(path, init);
  } catch {
    throw new ApiError(0, 'unreachable', texts.errors.unreachable, texts.errors.unreachableAction);
  }
}

async function failure(response: Response, path: string): Promise<ApiError> {
  const problem = await problemOf(response);
  if (response.status === 401 && path !== at.signIn()) onSignedOut();
  return new ApiError(
    response.status,
    problem.code ?? `http_${response.status}`,
    problem.title ?? texts.errors.unexpected(response.status),
    problem.action ?? texts.errors.unexpectedAction,
  );
}

async function problemOf(response: Response): Promise<{ code?: string; title?: string; action?: string }> {
  try {
    const body: unknown = await response.json();
    return typeof body === 'object' && body !== null ? body : {};
  } catch {
    return {};
  }
}

export interface NewRepository {
  name: string;
  url: string;
  password: string;
  environment?: Record<string, string>;
}

export interface NewGroup {
  name: string;
  repository: string;
  includes: string[];
  excludes: string[];
}

export interface NewSchedule {
  cron: string;
  time_zone: string;
  enabled: boolean;
}

export interface JobPage {
  jobs: Job[];
  next?: string | null;
}

export const api = {
  me: () => request<Me>('GET', at.me()),
  signIn: (token: string) => request<Me>('POST', at.signIn(), { token }),
  signOut: () => request<void>('POST', at.signOut()),
  addHost: (name: string) => request<Enrolment>('POST', at.hosts(), { name }),
  host: (host: string) => request<Host>('GET', at.host(host)),
  removeHost: (host: string) => request<void>('DELETE', at.host(host)),
  enrolAgain: (host: string) => request<Enrolment>('POST', at.enrolment(host)),
  addGroup: (host: string, group: NewGroup) => request<Group>('POST', at.groups(host), group),
  removeGroup: (host: string, group: string) => request<void>('DELETE', at.group(host, group)),
  setSchedule: (host: string, group: string, schedule: NewSchedule) =>
    request<Group>('PUT', at.schedule(host, group), schedule),
  removeSchedule: (host: string, group: string) => request<void>('DELETE', at.schedule(host, group)),
  backUp: (host: string, group: string) =>
    request<{ job_id: string }>('POST', at.hostJobs(host), { operation: 'backup', group }),
  jobs: (query: { host?: string; status?: Status; limit?: number; before?: string }) =>
    request<JobPage>('GET', at.jobs(query)),
  job: (id: string) => request<Job>('GET', at.job(id)),
  steer: (id: string, action: 'cancel' | 'pause' | 'resume') =>
    request<{ job_id: string }>('POST', at.jobAction(id, action)),
  log: (id: string, after: number) => request<LogPage>('GET', at.log(id, after)),
  snapshots: (host: string) => request<{ snapshots: Snapshot[] }>('GET', at.snapshots(host)),
  repositories: () => request<{ repositories: Repository[] }>('GET', at.repositories()),
  addRepository: (repository: NewRepository) =>
    request<{ repository_id: string }>('POST', at.repositories(), repository),
};

/** Any thrown thing as an error that can be shown. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new ApiError(0, 'unexpected', message, texts.errors.unexpectedAction);
}
