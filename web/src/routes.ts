// Which screen an address names. Pure.

export type Route =
  | { screen: 'overview' }
  | { screen: 'hosts' }
  | { screen: 'host-add' }
  | { screen: 'host'; host: string }
  | { screen: 'group-add'; host: string }
  | { screen: 'jobs' }
  | { screen: 'job'; job: string }
  | { screen: 'repositories' }
  | { screen: 'repository-add' }
  | { screen: 'unknown' };

/** The screen at a path. */
export function match(pathname: string): Route {
  const [first, second, third, fourth, ...rest] = segments(pathname);
  if (rest.length > 0) return { screen: 'unknown' };
  if (first === undefined) return { screen: 'overview' };
  if (first === 'hosts') return matchHost(second, third, fourth);
  if (third !== undefined) return { screen: 'unknown' };
  // Not below /hosts, where a host may have any name.
  if (first === 'add-host' && second === undefined) return { screen: 'host-add' };
  if (first === 'jobs') return second === undefined ? { screen: 'jobs' } : { screen: 'job', job: second };
  if (first === 'repositories') {
    if (second === undefined) return { screen: 'repositories' };
    if (second === 'add') return { screen: 'repository-add' };
  }
  return { screen: 'unknown' };
}

function matchHost(host?: string, what?: string, action?: string): Route {
  if (host === undefined) return { screen: 'hosts' };
  if (what === undefined) return { screen: 'host', host };
  if (what === 'groups' && action === 'add') return { screen: 'group-add', host };
  return { screen: 'unknown' };
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
