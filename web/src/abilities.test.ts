import { describe, expect, it } from 'vitest';

import { cannot, lacks } from './abilities';
import { aHost } from './test/samples';

describe('what can be asked of a host', () => {
  const foreign = aHost('nas-1', { dialect: 'backupy', capabilities: ['backup', 'cancel', 'logs', 'configure'] });

  it('is everything with an agent of our own', () => {
    expect(cannot(aHost('web-1'), 'pause')).toBeUndefined();
    expect(lacks(aHost('web-1'))).toEqual([]);
  });
  it('is refused in the words of the server where the agent has none', () => {
    expect(cannot(foreign, 'pause')).toBe('This host’s agent cannot pause a job: it speaks backupy.');
    expect(cannot(foreign, 'cancel')).toBeUndefined();
    expect(lacks(foreign)).toEqual(['pause', 'resume', 'snapshots', 'schedule', 'restore', 'look', 'maintain']);
  });
  it('is left to the server for a host that is not known', () => {
    expect(cannot(undefined, 'pause')).toBeUndefined();
  });
});
