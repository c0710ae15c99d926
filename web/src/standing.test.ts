import { expect, test } from 'vitest';

import type { Reason } from './api/types';
import { bundle, levelOf, standingOf } from './standing';
import { aGroup, aHost, aReason } from './test/samples';

const stale: Reason = aReason('stale', { group: 'system' });

test('a fleet is as bad as its worst host, and every host is counted once', () => {
  const hosts = [
    aHost('web-1'),
    aHost('web-2', { state: 'offline', verdict: { standing: 'at_risk', reasons: [aReason('offline')] } }),
    aHost('web-3', { groups: [aGroup({ verdict: { standing: 'stale', reasons: [stale] } })], verdict: { standing: 'stale', reasons: [stale] } }),
  ];
  const fleet = standingOf(hosts);
  expect(fleet.level).toBe('bad');
  expect(fleet.counts).toEqual({ protected: 1, paused: 0, at_risk: 1, stale: 1, never: 0 });
  expect(fleet.offline).toBe(1);
  expect(fleet.concerns.map((it) => [it.host.name, it.level])).toEqual([['web-3', 'bad'], ['web-2', 'warn']]);
});

test('a reason is as grave as the source group it is about', () => {
  const missed = aReason('missed', { group: 'photos' });
  const host = aHost('nas', {
    groups: [
      aGroup({ verdict: { standing: 'stale', reasons: [stale] } }),
      aGroup({ name: 'photos', verdict: { standing: 'at_risk', reasons: [missed] } }),
    ],
    verdict: { standing: 'stale', reasons: [stale, missed] },
  });
  expect(standingOf([host]).concerns.map((it) => it.level)).toEqual(['bad', 'warn']);
});

test('a host nobody has enrolled yet asks for a look and is no alarm', () => {
  const host = aHost('new', { state: 'pending', groups: [], verdict: { standing: 'never', reasons: [aReason('not_enrolled')] } });
  expect(levelOf(host)).toBe('warn');
  expect(standingOf([host]).level).toBe('warn');
});

test('a standing this page does not know counts as bad, not as good', () => {
  const odd = aHost('odd', { verdict: { standing: 'melted' as never, reasons: [] } });
  expect(levelOf(odd)).toBe('bad');
});

test('what has one cause on many hosts is one bundle', () => {
  const hosts = ['a', 'b', 'c'].map((name) => aHost(name, { verdict: { standing: 'at_risk', reasons: [aReason('offline')] } }));
  const bundles = bundle(standingOf([...hosts, aHost('d', { groups: [aGroup({ verdict: { standing: 'stale', reasons: [stale] } })], verdict: { standing: 'stale', reasons: [stale] } })]).concerns);
  expect(bundles.map((it) => [it.key, it.concerns.length])).toEqual([['bad/stale', 1], ['warn/offline', 3]]);
});
