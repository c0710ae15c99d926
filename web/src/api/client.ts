// The REST client: typed answers, and errors that always say what to do.

import { at, type SnapshotPath } from '../paths';
import { texts } from '../texts';
import type {
  AddChannel,
  Alert,
  AlertPage,
  AuditEntry,
  Channel,
  Days,
  Delivery,
  Difference,
  Enrolment,
  EntryPage,
  Evaluation,
  FoundPage,
  Group,
  Job,
  LogPage,
  MaintenanceKind,
  MakeSilence,
  Me,
  Operation,
  Planned,
  Preview,
  Repository,
  RepositoryDetail,
  Retention,
  Rule,
  SignInEntry,
  Silence,
  Snapshot,
  Status,
  Token,
  User,
  WholeHost,
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
  // What is asked before there is a sign-in, or with a password, may be refused without ending one.
  if (response.status === 401 && !ASKED_WITH_SECRETS.has(path)) onSignedOut();
  return new ApiError(
    response.status,
    problem.code ?? `http_${response.status}`,
    problem.title ?? texts.errors.unexpected(response.status),
    problem.action ?? texts.errors.unexpectedAction,
  );
}

const ASKED_WITH_SECRETS: ReadonlySet<string> = new Set([at.signIn(), at.finishOidc(), at.setup(), at.password(), at.totp(), at.confirmTotp()]);

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
  options?: Group['options'];
}

export interface NewSchedule {
  cron: string;
  time_zone: string;
  enabled: boolean;
  /** What this page has no field for is sent back as it was. */
  [more: string]: unknown;
}

/** When an operation keeps a repository in order. */
export interface NewMaintenance {
  cron: string;
  time_zone: string;
  enabled: boolean;
  window?: { from: string; until: string };
  parameters?: Record<string, unknown>;
}

/** A person's, or a token. */
export type Credentials = { name: string; password: string; totp_code?: string } | { token: string };

/** How one may sign in besides with a name and a password. */
export interface WaysIn {
  oidc?: { label: string };
}

/** What the identity provider sent this browser back with. */
export interface OidcArrival {
  code: string;
  state: string;
  iss?: string;
}

export interface JobOrder {
  operation: Operation;
  group?: string;
  repository?: string;
  parameters?: object;
}

export interface NewUser {
  name: string;
  role: string;
  password: string;
  host_groups?: string[];
}

export interface NewToken {
  name: string;
  role: string;
  expires_in_seconds?: number;
  host_groups?: string[];
}

export interface NewCredentials {
  password?: string;
  url?: string;
  environment?: Record<string, string>;
}

/** Long listings are told in pages of this size. */
export const ENTRIES_PAGE = 1000;

export interface JobPage {
  jobs: Job[];
  next?: string | null;
}

export const api = {
  me: () => request<Me>('GET', at.me()),
  signIn: (who: Credentials) => request<Me>('POST', at.signIn(), who),
  waysIn: () => request<WaysIn>('GET', at.signIn()),
  beginOidc: () => request<{ url: string }>('POST', at.beginOidc()),
  finishOidc: (arrival: OidcArrival) => request<Me>('POST', at.finishOidc(), arrival),
  signOut: () => request<void>('POST', at.signOut()),
  addHost: (name: string) => request<Enrolment>('POST', at.hosts(), { name }),
  host: (host: string) => request<WholeHost>('GET', at.host(host)),
  changeHost: (host: string, change: { host_group?: string; labels?: Record<string, string> }) =>
    request<WholeHost>('PATCH', at.host(host), change),
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
  repository: (id: string) => request<RepositoryDetail>('GET', at.repository(id)),
  setMaintenance: (id: string, operation: MaintenanceKind, plan: NewMaintenance) =>
    request<RepositoryDetail>('PUT', at.maintenance(id, operation), plan),
  setCredentials: (id: string, slot: 'repo' | 'admin', secrets: NewCredentials) =>
    request<void>('PUT', at.credentials(id, slot), secrets),
  clearCredentials: (id: string, slot: 'repo' | 'admin') => request<void>('DELETE', at.credentials(id, slot)),
  days: () => request<Days>('GET', at.days(viewerZone())),
  schedules: () => request<{ schedules: Planned[]; more: boolean }>('GET', at.schedules()),
  preview: (cron: string, zone: string) => request<Preview>('GET', at.preview(cron, zone)),
  evaluations: (host: string) => request<{ evaluations: Evaluation[] }>('GET', at.evaluations(host)),
  editGroup: (host: string, name: string, group: object) => request<Group>('PUT', at.group(host, name), group),
  retention: async (host: string, group: string) =>
    (await request<{ retention?: Retention | null }>('GET', at.retention(host, group))).retention ?? null,
  setRetention: (host: string, group: string, keep: Retention | null) =>
    request<unknown>('PUT', at.retention(host, group), keep),
  setObjective: (host: string, group: string, seconds: number | undefined) =>
    seconds === undefined
      ? request<unknown>('DELETE', at.objective(host, group))
      : request<unknown>('PUT', at.objective(host, group), { objective_seconds: seconds }),
  order: (host: string, order: JobOrder) => request<{ job_id: string }>('POST', at.hostJobs(host), order),
  entries: (host: string, snapshot: string, where: SnapshotPath, offset = 0) =>
    request<EntryPage>('GET', at.entries(host, snapshot, { ...where, offset, limit: ENTRIES_PAGE })),
  search: (host: string, snapshot: string, repository: string, pattern: string) =>
    request<FoundPage>('GET', at.search(host, snapshot, { repository, pattern, limit: 200 })),
  diff: (host: string, repository: string, from: string, to: string) =>
    request<Difference>('GET', at.diff(host, { repository, from, to, limit: 5000 })),
  alerts: (query: { state?: string; before?: string; limit?: number }) =>
    request<AlertPage>('GET', at.alerts(query)),
  alert: (id: string) => request<Alert>('GET', at.alert(id)),
  acknowledge: (alert: string) => request<Alert>('POST', at.acknowledge(alert)),
  rules: () => request<{ rules: Rule[] }>('GET', at.rules()),
  setRule: (rule: string, enabled: boolean, graceSeconds: number) =>
    request<Rule>('PUT', at.rule(rule), { enabled, grace_seconds: graceSeconds }),
  silences: () => request<{ silences: Silence[] }>('GET', at.silences()),
  silence: (silence: MakeSilence) => request<unknown>('POST', at.silences(), silence),
  endSilence: (id: string) => request<void>('DELETE', at.silence(id)),
  channels: () => request<{ channels: Channel[] }>('GET', at.channels()),
  addChannel: (channel: AddChannel) => request<unknown>('POST', at.channels(), channel),
  removeChannel: (id: string) => request<void>('DELETE', at.channel(id)),
  testChannel: (id: string) => request<{ delivered: boolean; error?: string | null }>('POST', at.testChannel(id)),
  deliveries: (id: string) => request<{ deliveries: Delivery[] }>('GET', at.deliveries(id)),
  setup: () => request<{ needed: boolean }>('GET', at.setup()),
  setUp: (admin: { code: string; name: string; password: string }) => request<unknown>('POST', at.setup(), admin),
  changePassword: (old: string, next: string) => request<void>('PUT', at.password(), { old, new: next }),
  startTotp: () => request<{ secret: string; uri: string }>('POST', at.totp()),
  confirmTotp: (code: string) => request<unknown>('POST', at.confirmTotp(), { code }),
  endTotp: (password: string) => request<void>('DELETE', at.totp(), { password }),
  signIns: (all = false) => request<{ sign_ins: SignInEntry[] }>('GET', at.signIns(all)),
  endSignIn: (id: string) => request<void>('DELETE', at.endSignIn(id)),
  users: () => request<{ users: User[] }>('GET', at.users()),
  addUser: (user: NewUser) => request<unknown>('POST', at.users(), user),
  editUser: (name: string, changes: Partial<NewUser & { disabled: boolean }>) =>
    request<unknown>('PATCH', at.user(name), changes),
  removeUser: (name: string) => request<void>('DELETE', at.user(name)),
  tokens: () => request<{ tokens: Token[] }>('GET', at.tokens()),
  addToken: (token: NewToken) => request<{ id: string; token: string }>('POST', at.tokens(), token),
  removeToken: (id: string) => request<void>('DELETE', at.token(id)),
  audit: (query: { before?: string | number; actor?: string; action?: string }) =>
    request<{ entries: AuditEntry[]; next?: string | number | null }>('GET', at.audit({ ...query, limit: 100 })),
  verifyAudit: () => request<{ ok: boolean; entries: number; first_bad?: number | null }>('GET', at.verifyAudit()),
};

function viewerZone(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';
}

/** Any thrown thing as an error that can be shown. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new ApiError(0, 'unexpected', message, texts.errors.unexpectedAction);
}
