import { describe, expect, it } from 'vitest';

import type { Host } from '../../api/types';
import { aGroup, aHost, ago } from '../../test/samples';
import { countStates, filterHosts, inState, isFilter, sortHosts } from './filter';

const last = (minutes: number) => ({ job_id: 'x', group: 'system', status: 'succeeded', finished_at: ago(minutes) }) as const;
const hosts = [
  aHost('web-2', { os: 'linux', last_backup: last(50) }),
  aHost('db-1', { os: 'linux', state: 'offline', groups: [aGroup({ name: 'Postgres' })], last_backup: last(10) }),
  aHost('mac', { os: 'macos', state: 'pending', last_backup: undefined }),
];
const names = (list: Host[]) => list.map((host) => host.name);
const well = () => 'ok' as const;

describe('the search', () => {
  it('finds every word anywhere, in any case', () => {
    expect(names(filterHosts(hosts, 'LINUX postgres', 'all', well))).toEqual(['db-1']);
    expect(names(filterHosts(hosts, ' vault ', 'all', well))).toEqual(['web-2', 'db-1', 'mac']);
    expect(filterHosts(hosts, 'linux nothing', 'all', well)).toEqual([]);
  });
  it('finds labels and host groups', () => {
    const shop = aHost('shop', { host_group: 'dmz', labels: { rack: 'b7' } });
    expect(names(filterHosts([...hosts, shop], 'rack=b7 dmz', 'all', well))).toEqual(['shop']);
  });
  it('and the state both count', () => expect(names(filterHosts(hosts, 'linux', 'online', well))).toEqual(['web-2']));
  it('for attention asks the verdict', () => {
    expect(inState(hosts[0] as Host, 'attention', 'warn')).toBe(true);
    expect(inState(hosts[0] as Host, 'attention', 'note')).toBe(false);
  });
});

it('counts every state in one pass', () => {
  expect(countStates(hosts, () => 'warn')).toEqual({ all: 3, online: 1, offline: 1, attention: 3, pending: 1 });
});

describe('the order', () => {
  it('puts hosts without the value last in both directions', () => {
    expect(names(sortHosts(hosts, 'last', false))).toEqual(['web-2', 'db-1', 'mac']);
    expect(names(sortHosts(hosts, 'last', true))).toEqual(['db-1', 'web-2', 'mac']);
  });
  it('by state begins with trouble', () => expect(names(sortHosts(hosts, 'state', false))).toEqual(['db-1', 'mac', 'web-2']));
  it('by standing begins with the worst', () => {
    const bad = aHost('zoo', { verdict: { standing: 'stale', reasons: [] } });
    expect(names(sortHosts([...hosts, bad], 'standing', false))[0]).toBe('zoo');
  });
  it('by a column nobody knows is by name', () => expect(names(sortHosts(hosts, 'toString', false))).toEqual(['db-1', 'mac', 'web-2']));
});

it('only known words filter', () => {
  expect(isFilter('offline')).toBe(true);
  expect(isFilter('constructor')).toBe(false);
});
