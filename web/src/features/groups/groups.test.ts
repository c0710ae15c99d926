import { describe, expect, it } from 'vitest';

import { enrolCommand } from '../hosts/enrol';
import { environmentOf, strongPassword } from '../repositories/environment';
import { cronOf, DEFAULT_PLAN, planOf, timeText, withTime } from './cron';
import { listOf } from './paths';

describe('a simple schedule', () => {
  it.each([
    ['5 * * * *', 'hourly'],
    ['30 2 * * *', 'daily'],
    ['0 4 * * 6', 'weekly'],
    ['*/5 * * * *', 'custom'],
    ['0 4 1 * *', 'custom'],
    ['0 9-17 * * *', 'custom'],
    ['0 4 * * 1-5', 'custom'],
    ['@daily', 'custom'],
    ['1 2 3', 'custom'],
  ] as const)('%s reads as %s and is written back the same', (cron, kind) => {
    expect(planOf(cron).kind).toBe(kind);
    expect(cronOf(planOf(cron))).toBe(cron);
  });
  it('has Sunday as 0, whichever way cron writes it', () => expect(planOf('0 4 * * 7').weekday).toBe(0));
  it('takes its time from a time field, and keeps it when the field is empty', () => {
    expect(cronOf(withTime(DEFAULT_PLAN, '23:05'))).toBe('5 23 * * *');
    expect(withTime(DEFAULT_PLAN, '')).toBe(DEFAULT_PLAN);
    expect(timeText(DEFAULT_PLAN)).toBe('02:30');
  });
});

it('lines of a field are trimmed and empty ones dropped', () => expect(listOf(' /etc \n\n/home\n')).toEqual(['/etc', '/home']));

describe('an environment', () => {
  it('is read line by line, with = allowed in values', () => {
    expect(environmentOf('AWS_ID=abc\nKEY = a=b')).toEqual({ values: { AWS_ID: 'abc', KEY: 'a=b' } });
  });
  it('names a mistake without the secret behind it', () => {
    expect(environmentOf('A=1\nMY KEY=secret').mistake).toBe('MY KEY');
    expect(environmentOf('hunter').mistake).toBe('hunter');
  });
});

it('a made password is long and never the same', () => {
  expect(strongPassword()).toMatch(/^([a-z2-90]{8}-){3}[a-z2-90]{8}$/);
  expect(strongPassword()).not.toBe(strongPassword());
});

it('the enrolment command keeps the token out of the list of processes', () => {
  const command = enrolCommand({ host_id: 'h', name: 'web-1', enrolment_token: 'hf_enr_x', expires_at: '' }, 'https://backup.example');
  expect(command).toMatch(/^echo hf_enr_x \\\n {2}\| holdfast-agent enroll --server https:\/\/backup\.example --token-file - /);
  expect(command).not.toContain('--token ');
});
