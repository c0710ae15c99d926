// Which mark a state gets. Colour and shape come together here and nowhere else.

import type { Host, Severity, Standing, Status } from './api/types';
import type { Level } from './standing';
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

const STANDING: Record<Standing, Tone> = { protected: 'ok', paused: 'pause', at_risk: 'warn', stale: 'bad', never: 'bad' };

const SEVERITY: Record<Severity, Tone> = { info: 'idle', warning: 'warn', critical: 'bad' };

const HOST: Record<Host['state'], Tone> = { online: 'on', offline: 'off', pending: 'idle' };

export const statusTone = (status: Status): Tone => STATUS[status] ?? 'idle';
export const standingTone = (standing: Standing): Tone => STANDING[standing] ?? 'bad';
export const severityTone = (severity: Severity): Tone => SEVERITY[severity] ?? 'bad';
export const levelTone = (level: Level): Tone => LEVEL[level];
export const hostTone = (state: Host['state']): Tone => HOST[state] ?? 'idle';
