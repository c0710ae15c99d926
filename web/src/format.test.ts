import { describe, expect, it } from 'vitest';

import { absolute, bytes, clockTime, duration, eta, percent, plain, plural, rate, relative, secondsBetween, UNKNOWN, whole } from './format';
import { ago, NOW } from './test/samples';

describe('bytes', () => {
  it.each([
    [0, '0 B'],
    [999, '999 B'],
    [1000, '0.98 KiB'],
    [1024, '1.00 KiB'],
    [1536, '1.50 KiB'],
    [10 * 1024, '10.0 KiB'],
    [999 * 1024, '999 KiB'],
    [1023 * 1024, '1.00 MiB'],
    [1.46 * 1024 ** 3, '1.46 GiB'],
    [3 * 1024 ** 4, '3.00 TiB'],
    [Number.MAX_SAFE_INTEGER, '8.00 PiB'],
  ])('%d is %s', (count, text) => expect(bytes(count)).toBe(text));

  it.each([undefined, null, -1, Number.NaN, Number.POSITIVE_INFINITY])('%s is not known', (count) => {
    expect(bytes(count)).toBe(UNKNOWN);
    expect(rate(count)).toBe(UNKNOWN);
  });

  it('as a rate carry the second', () => expect(rate(1024 ** 2)).toBe('1.00 MiB/s'));
});

describe('percent', () => {
  it.each([
    [0, '0 %'],
    [0.29, '29 %'],
    [0.999, '99 %'],
    [1, '100 %'],
    [1.2, '100 %'],
    [-1, '0 %'],
    [Number.NaN, '0 %'],
  ])('%d is %s: whole only when done', (part, text) => expect(percent(part)).toBe(text));
});

describe('duration', () => {
  it.each([
    [0, 'under 1 s'],
    [42, '42 s'],
    [60, '1 min'],
    [185, '3 min 5 s'],
    [3600, '1 h'],
    [7440, '2 h 4 min'],
    [86_400 * 3 + 3600 * 4, '3 d 4 h'],
    [86_405, '1 d'],
  ])('%d s is %s', (seconds, text) => expect(duration(seconds)).toBe(text));
  it('of a negative or missing length is not known', () => {
    expect(duration(-3)).toBe(UNKNOWN);
    expect(duration(undefined)).toBe(UNKNOWN);
  });
});

describe('relative time', () => {
  it.each([
    [0, 'just now'],
    [0.5, '30 s ago'],
    [4, '4 min ago'],
    [59.99, '59 min ago'],
    [120, '2 h ago'],
    [60 * 24, '1 day ago'],
    [60 * 24 * 9, '9 days ago'],
    [60 * 24 * 100, '3 months ago'],
    [60 * 24 * 900, '2 years ago'],
    [-120, 'in 2 h'],
    [-3, 'in 3 min'],
  ])('%d minutes back is %s', (minutes, text) => expect(relative(ago(minutes), NOW)).toBe(text));
  it('of no time is not known', () => {
    expect(relative(undefined, NOW)).toBe(UNKNOWN);
    expect(relative('soon', NOW)).toBe(UNKNOWN);
  });
});

describe('absolute time', () => {
  it('carries its zone', () => {
    expect(absolute('2026-11-21T12:00:00Z', 'Europe/Berlin')).toBe('Sat, 21 Nov 2026, 13:00:00 CET');
    expect(clockTime('2026-11-21T12:00:00Z', 'UTC')).toBe('12:00:00');
  });
  it('in a zone nobody knows falls back to the viewer’s instead of failing', () => {
    expect(absolute('2026-11-21T12:00:00Z', 'Mars/Olympus')).toContain('2026');
  });
  it('of no time is not known', () => expect(absolute(null)).toBe(UNKNOWN));
});

it('the seconds between two times are known only when both are', () => {
  expect(secondsBetween(ago(2), NOW)).toBe(120);
  expect(secondsBetween(undefined, NOW)).toBeUndefined();
});

describe('time left', () => {
  it('is hidden below five percent, at the end, and when restic does not say', () => {
    expect(eta({ percent_done: 0.049, eta_seconds: 90 })).toBeUndefined();
    expect(eta({ percent_done: 1, eta_seconds: 1 })).toBeUndefined();
    expect(eta({ percent_done: 0.5 })).toBeUndefined();
    expect(eta({ percent_done: 0.05, eta_seconds: 90 })).toBe(90);
  });
});

describe('foreign text', () => {
  it.each([
    ['colours', '\u001b[31mred\u001b[0m', 'red'],
    ['cursor moves', 'a\u001b[2K\u001b[1Gb', 'ab'],
    ['window titles', '\u001b]0;title\u0007after', 'after'],
    ['links', '\u001b]8;;http://evil\u001b\\text\u001b]8;;\u001b\\', 'text'],
    ['one-byte sequences', '\u009b31mred', 'red'],
    ['control characters', 'a\u0000b\u0008c\rd', 'abcd'],
    ['characters that turn the text round', 'invoice\u202egpj.exe', 'invoice\ufffdgpj.exe'],
    ['characters nobody sees', 'pay\u200bpal', 'pay\ufffdpal'],
  ])('loses %s', (_, raw, text) => expect(plain(raw)).toBe(text));
  it('keeps what a person wrote', () => expect(plain('/home/žofie/café 日本 <b>&amp;\t')).toBe('/home/žofie/café 日本 <b>&amp;\t'));
  it('that is missing is empty', () => expect(plain(undefined)).toBe(''));
});

it('numbers carry thousands and their noun', () => {
  expect(whole(1234567)).toBe('1,234,567');
  expect(whole(undefined)).toBe(UNKNOWN);
  expect(plural(1, 'host')).toBe('1 host');
  expect(plural(1200, 'host')).toBe('1,200 hosts');
});
