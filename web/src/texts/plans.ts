// The words of schedules across the fleet, and of the operations.

import type { Operation } from '../api/types';
import { plural } from '../format';

export const operations: Record<Operation, { noun: string; title: string }> = {
  backup: { noun: 'Backup', title: 'Backup of' },
  init: { noun: 'Set-up', title: 'Set-up of the repository' },
  snapshots: { noun: 'Listing', title: 'Listing of snapshots' },
  ls: { noun: 'Listing', title: 'Listing of a folder' },
  dump: { noun: 'Download', title: 'Download' },
  diff: { noun: 'Comparison', title: 'Comparison of snapshots' },
  restore: { noun: 'Restore', title: 'Restore' },
  tag: { noun: 'Tagging', title: 'Tagging of snapshots' },
  forget: { noun: 'Forget', title: 'Forgetting of old snapshots' },
  prune: { noun: 'Prune', title: 'Pruning of the repository' },
  check: { noun: 'Check', title: 'Check of the repository' },
  stats: { noun: 'Measurement', title: 'Measurement of the repository' },
  unlock: { noun: 'Unlock', title: 'Removal of stale locks' },
};

export const schedules = {
  title: 'Schedules',
  lead: 'What runs when, in your time zone. Schedules fire on the hosts, also while this server is down.',
  week: 'The next seven days',
  more: 'There are more runs than can be drawn.',
  list: 'All schedules',
  columns: { host: 'Host', group: 'Source group', when: 'When', zone: 'Zone', next: 'Next', repository: 'Into' },
  emptyTitle: 'No schedules yet',
  empty: 'A source group without a schedule is backed up only when somebody starts it.',
  toHosts: 'To the hosts',
  off: 'switched off',
  hour: (runs: number, when: string) => `${plural(runs, 'run')} at ${when}`,
  busiest: (runs: number, when: string) => `Most at once: ${plural(runs, 'run')} in the hour of ${when}.`,
  pick: 'Press an hour to see its runs.',
  due: 'What was due',
  dueNone: 'Nothing has been due yet.',
  outcomes: { pending: 'Being watched', fired: 'Ran', caught_up: 'Made up later', skipped: 'Skipped', blocked: 'Blocked by the one before', refused: 'Refused', missed: 'Missed' } as Record<string, string>,
  preview: 'Next five times',
};
