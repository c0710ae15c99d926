import { describe, expect, it } from 'vitest';

import { at, to, withQuery } from './paths';
import { match } from './routes';

describe('an address', () => {
  it.each([
    ['/', { screen: 'overview' }],
    [to.hosts(), { screen: 'hosts' }],
    [to.hostAdd(), { screen: 'host-add' }],
    [to.host('web-1'), { screen: 'host', host: 'web-1' }],
    [to.host('add'), { screen: 'host', host: 'add' }],
    [to.host('a b/c?d#e'), { screen: 'host', host: 'a b/c?d#e' }],
    [to.groupAdd('web-1'), { screen: 'group-add', host: 'web-1' }],
    [to.jobs(), { screen: 'jobs' }],
    [to.job('018f'), { screen: 'job', job: '018f' }],
    [to.repositories(), { screen: 'repositories' }],
    [to.repositoryAdd(), { screen: 'repository-add' }],
    ['/nowhere', { screen: 'unknown' }],
    ['/jobs/1/2', { screen: 'unknown' }],
    ['/hosts/web-1/groups', { screen: 'unknown' }],
    ['/hosts/%E0%A4%A', { screen: 'host', host: '%E0%A4%A' }],
  ])('%s leads to its screen', (path, route) => expect(match(path)).toEqual(route));

  it('keeps only parameters with a value', () => {
    expect(withQuery('/jobs', { host: 'a&b', status: undefined, before: '' })).toBe('/jobs?host=a%26b');
    expect(to.hosts()).toBe('/hosts');
  });
});

it('an endpoint escapes what it is given', () => {
  expect(at.schedule('web-1', 'My docs/2')).toBe('/api/v1/hosts/web-1/groups/My%20docs%2F2/schedule');
  expect(at.log('j1', 40)).toBe('/api/v1/jobs/j1/log?after=40&limit=1000');
});
