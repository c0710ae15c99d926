// Which screen an address names. Pure.

export type Route =
  | { screen: 'overview' }
  | { screen: 'hosts' }
  | { screen: 'host-add' }
  | { screen: 'host'; host: string }
  | { screen: 'group-add'; host: string }
  | { screen: 'group-edit'; host: string; group: string }
  | { screen: 'snapshots'; host: string }
  | { screen: 'snapshot'; host: string; snapshot: string }
  | { screen: 'restore'; host: string; snapshot: string }
  | { screen: 'diff'; host: string }
  | { screen: 'jobs' }
  | { screen: 'job'; job: string }
  | { screen: 'repositories' }
  | { screen: 'repository-add' }
  | { screen: 'repository'; repository: string }
  | { screen: 'schedules' }
  | { screen: 'alerts' }
  | { screen: 'alert'; alert: string }
  | { screen: 'channels' }
  | { screen: 'rules' }
  | { screen: 'settings' }
  | { screen: 'users' }
  | { screen: 'tokens' }
  | { screen: 'audit' }
  | { screen: 'unknown' };

const UNKNOWN: Route = { screen: 'unknown' };

/** The screen at a path. */
export function match(pathname: string): Route {
  const [first, second, ...rest] = segments(pathname);
  if (first === undefined) return { screen: 'overview' };
  if (first === 'hosts') return second === undefined ? { screen: 'hosts' } : matchHost(second, rest);
  if (rest.length > 0) return UNKNOWN;
  if (second === undefined) return matchTop(first);
  if (first === 'jobs') return { screen: 'job', job: second };
  if (first === 'repositories') return { screen: 'repository', repository: second };
  if (first === 'alerts') return matchAlert(second);
  if (first === 'settings' && (second === 'users' || second === 'tokens' || second === 'audit')) return { screen: second };
  return UNKNOWN;
}

function matchTop(word: string): Route {
  switch (word) {
    case 'jobs':
    case 'repositories':
    case 'schedules':
    case 'alerts':
    case 'settings':
      return { screen: word };
    // Not below /hosts and /repositories, where anything may be a name.
    case 'add-host':
      return { screen: 'host-add' };
    case 'add-repository':
      return { screen: 'repository-add' };
    default:
      return UNKNOWN;
  }
}

function matchAlert(word: string): Route {
  return word === 'channels' || word === 'rules' ? { screen: word } : { screen: 'alert', alert: word };
}

function matchHost(host: string, [what, name, action, ...rest]: string[]): Route {
  if (rest.length > 0) return UNKNOWN;
  if (what === undefined) return { screen: 'host', host };
  if (what === 'diff' && name === undefined) return { screen: 'diff', host };
  if (what === 'groups') {
    if (name === 'add' && action === undefined) return { screen: 'group-add', host };
    if (name !== undefined && action === 'edit') return { screen: 'group-edit', host, group: name };
  }
  if (what === 'snapshots') {
    if (name === undefined) return { screen: 'snapshots', host };
    if (action === undefined) return { screen: 'snapshot', host, snapshot: name };
    if (action === 'restore') return { screen: 'restore', host, snapshot: name };
  }
  return UNKNOWN;
}

function segments(pathname: string): string[] {
  return pathname.split('/').filter(Boolean).map(decode);
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}
