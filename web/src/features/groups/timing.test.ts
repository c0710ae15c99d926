import { expect, test } from 'vitest';

import { timingFields, timingOf } from './timing';

test('a schedule without more to say is kept as every schedule is', () => {
  expect(timingOf(timingFields(undefined))).toEqual({ jitter_seconds: 0, catch_up: true });
});

test('a window and a jitter are shown and sent back the same', () => {
  const timing = { jitter_seconds: 600, catch_up: false, window: { from: '22:00', until: '06:00' } };
  const schedule = { ...timing, id: 's', cron: '0 3 * * *', time_zone: 'UTC', enabled: true, in_words: '' };
  expect(timingOf(timingFields(schedule))).toEqual(timing);
});

test('half a window is none', () => {
  expect(timingOf({ from: '22:00', until: '', jitter: null, catchUp: true }).window).toBeUndefined();
});
