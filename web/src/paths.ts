// Every address this page knows, built in one place so that nothing is escaped by hand.

const segment = encodeURIComponent;

/** Adds the parameters that have a value. */
export function withQuery(path: string, query: Record<string, string | number | undefined>): string {
  const params = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (value !== undefined && value !== '') params.set(key, String(value));
  }
  const text = params.toString();
  return text ? `${path}?${text}` : path;
}

/** A place in a snapshot. */
export type SnapshotPath = { repository: string; path: string };

/** Screens. */
export const to = {
  overview: () => '/',
  hosts: (query: { q?: string; state?: string; group?: string } = {}) => withQuery('/hosts', query),
  hostAdd: () => '/add-host',
  host: (name: string) => `/hosts/${segment(name)}`,
  groupAdd: (host: string) => `/hosts/${segment(host)}/groups/add`,
  jobs: (query: { host?: string; status?: string } = {}) => withQuery('/jobs', query),
  job: (id: string) => `/jobs/${segment(id)}`,
  repositories: () => '/repositories',
  repositoryAdd: () => '/add-repository',
  repository: (name: string) => `/repositories/${segment(name)}`,
  groupEdit: (host: string, group: string) => `/hosts/${segment(host)}/groups/${segment(group)}/edit`,
  snapshots: (host: string) => `/hosts/${segment(host)}/snapshots`,
  snapshot: (host: string, snapshot: string, query: { repository?: string; path?: string } = {}) =>
    withQuery(`/hosts/${segment(host)}/snapshots/${segment(snapshot)}`, query),
  restore: (host: string, snapshot: string, repository: string, paths: readonly string[] = []) => {
    const base = withQuery(`/hosts/${segment(host)}/snapshots/${segment(snapshot)}/restore`, { repository });
    return paths.reduce((path, it) => `${path}&path=${segment(it)}`, base);
  },
  diff: (host: string, query: { repository?: string; from?: string; to?: string }) =>
    withQuery(`/hosts/${segment(host)}/diff`, query),
  schedules: () => '/schedules',
  alerts: (query: { state?: string } = {}) => withQuery('/alerts', query),
  alert: (id: string) => `/alerts/${segment(id)}`,
  channels: () => '/alerts/channels',
  rules: () => '/alerts/rules',
  settings: () => '/settings',
  users: () => '/settings/users',
  tokens: () => '/settings/tokens',
  audit: () => '/settings/audit',
};

const root = '/api/v1';

/** Endpoints of the REST API. */
export const at = {
  signIn: () => `${root}/sign-in`,
  beginOidc: () => `${root}/sign-in/oidc/begin`,
  finishOidc: () => `${root}/sign-in/oidc`,
  signOut: () => `${root}/sign-out`,
  me: () => `${root}/me`,
  live: () => `${root}/live`,
  hosts: () => `${root}/hosts`,
  host: (host: string) => `${root}/hosts/${segment(host)}`,
  enrolment: (host: string) => `${root}/hosts/${segment(host)}/enrolment-token`,
  groups: (host: string) => `${root}/hosts/${segment(host)}/groups`,
  group: (host: string, group: string) => `${root}/hosts/${segment(host)}/groups/${segment(group)}`,
  schedule: (host: string, group: string) =>
    `${root}/hosts/${segment(host)}/groups/${segment(group)}/schedule`,
  hostJobs: (host: string) => `${root}/hosts/${segment(host)}/jobs`,
  snapshots: (host: string) => `${root}/hosts/${segment(host)}/snapshots`,
  jobs: (query: { host?: string; status?: string; limit?: number; before?: string } = {}) =>
    withQuery(`${root}/jobs`, query),
  job: (id: string) => `${root}/jobs/${segment(id)}`,
  jobAction: (id: string, action: 'cancel' | 'pause' | 'resume') =>
    `${root}/jobs/${segment(id)}/${action}`,
  days: (timeZone: string) => withQuery(`${root}/overview/days`, { time_zone: timeZone }),
  schedules: () => `${root}/schedules`,
  preview: (cron: string, timeZone: string) =>
    withQuery(`${root}/schedules/preview`, { cron, time_zone: timeZone }),
  evaluations: (host: string, limit = 100) =>
    withQuery(`${root}/hosts/${segment(host)}/evaluations`, { limit }),
  retention: (host: string, group: string) =>
    `${root}/hosts/${segment(host)}/groups/${segment(group)}/retention`,
  objective: (host: string, group: string) =>
    `${root}/hosts/${segment(host)}/groups/${segment(group)}/objective`,
  entries: (host: string, snapshot: string, query: SnapshotPath & { offset?: number; limit?: number }) =>
    withQuery(`${root}/hosts/${segment(host)}/snapshots/${segment(snapshot)}/entries`, query),
  download: (host: string, snapshot: string, query: SnapshotPath) =>
    withQuery(`${root}/hosts/${segment(host)}/snapshots/${segment(snapshot)}/download`, query),
  search: (host: string, snapshot: string, query: { repository: string; pattern: string; limit?: number }) =>
    withQuery(`${root}/hosts/${segment(host)}/snapshots/${segment(snapshot)}/search`, query),
  diff: (host: string, query: { repository: string; from: string; to: string; limit?: number }) =>
    withQuery(`${root}/hosts/${segment(host)}/diff`, query),
  alerts: (query: { state?: string; before?: string; limit?: number } = {}) =>
    withQuery(`${root}/alerts`, query),
  alert: (id: string) => `${root}/alerts/${segment(id)}`,
  acknowledge: (alert: string) => `${root}/alerts/${segment(alert)}/acknowledge`,
  rules: () => `${root}/alert-rules`,
  rule: (rule: string) => `${root}/alert-rules/${segment(rule)}`,
  silences: () => `${root}/silences`,
  silence: (id: string) => `${root}/silences/${segment(id)}`,
  channels: () => `${root}/channels`,
  channel: (id: string) => `${root}/channels/${segment(id)}`,
  testChannel: (id: string) => `${root}/channels/${segment(id)}/test`,
  deliveries: (id: string, limit = 50) => withQuery(`${root}/channels/${segment(id)}/deliveries`, { limit }),
  setup: () => `${root}/setup`,
  password: () => `${root}/me/password`,
  totp: () => `${root}/me/totp`,
  confirmTotp: () => `${root}/me/totp/confirm`,
  signIns: (all: boolean) => withQuery(`${root}/sign-ins`, { all: all ? 'true' : undefined }),
  endSignIn: (id: string) => `${root}/sign-ins/${segment(id)}`,
  users: () => `${root}/users`,
  user: (name: string) => `${root}/users/${segment(name)}`,
  tokens: () => `${root}/tokens`,
  token: (id: string) => `${root}/tokens/${segment(id)}`,
  audit: (query: { before?: string | number; limit?: number; actor?: string; action?: string }) =>
    withQuery(`${root}/audit`, query),
  verifyAudit: () => `${root}/audit/verify`,
  repository: (id: string) => `${root}/repositories/${segment(id)}`,
  maintenance: (id: string, operation: string) =>
    `${root}/repositories/${segment(id)}/maintenance/${segment(operation)}`,
  credentials: (id: string, slot: string) => `${root}/repositories/${segment(id)}/credentials/${segment(slot)}`,
  log: (id: string, after: number, limit = 1000) =>
    withQuery(`${root}/jobs/${segment(id)}/log`, { after, limit }),
  repositories: () => `${root}/repositories`,
};
