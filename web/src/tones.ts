// Which mark a state gets. Colour and shape come together here and nowhere else.

import type { Host, Status } from './api/types';
import type { Level } from './protection';
import type { Tone } from './ui/Mark.svelte';

const STATUS: Record<Status, Tone> = {
  queued: 'idle',
  running: 'run',
  paused: 'pause',
  succeeded: 'ok',
  partial: 'warn',
  failed: 'bad',
  cancelled: 'off',
  interrupted: 'bad',
  missed: 'bad',
};

const LEVEL: Record<Level, Tone> = { bad: 'bad', warn: 'warn', note: 'idle', ok: 'ok' };

const HOST: Record<Host['state'], Tone> = { online: 'on', offline: 'off', pending: 'idle' };

export const statusTone = (status: Status): Tone => STATUS[status] ?? 'idle';
export const levelTone = (level: Level): Tone => LEVEL[level];
export const hostTone = (state: Host['state']): Tone => HOST[state] ?? 'idle';
