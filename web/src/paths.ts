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

/** Screens. */
export const to = {
  overview: () => '/',
  hosts: (query: { q?: string; state?: string } = {}) => withQuery('/hosts', query),
  hostAdd: () => '/add-host',
  host: (name: string) => `/hosts/${segment(name)}`,
  groupAdd: (host: string) => `/hosts/${segment(host)}/groups/add`,
  jobs: (query: { host?: string; status?: string } = {}) => withQuery('/jobs', query),
  job: (id: string) => `/jobs/${segment(id)}`,
  repositories: () => '/repositories',
  repositoryAdd: () => '/repositories/add',
};

const root = '/api/v1';

/** Endpoints of the REST API. */
export const at = {
  signIn: () => `${root}/sign-in`,
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
  log: (id: string, after: number, limit = 1000) =>
    withQuery(`${root}/jobs/${segment(id)}/log`, { after, limit }),
  repositories: () => `${root}/repositories`,
};
