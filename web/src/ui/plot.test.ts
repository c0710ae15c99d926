import { describe, expect, it } from 'vitest';
import { nearest, plot, roundUp, thin } from './plot';

describe('a plot', () => {
  const samples = [0, 10, 20].map((at, i) => ({ at, value: [0, 100, 50][i] ?? 0 }));
  it('fits its box and ends at its corners', () => {
    const drawn = plot(samples, 200, 100);
    expect(drawn?.top).toBe(100);
    expect(drawn?.line).toBe('M0.0 100.0L100.0 0.0L200.0 50.0');
    expect(drawn?.area).toBe('M0.0 100.0L100.0 0.0L200.0 50.0L200 100L0 100Z');
    expect(nearest(drawn?.points ?? [], 140)?.sample.at).toBe(10);
  });
  it('needs two points', () => expect(plot(samples.slice(0, 1), 200, 100)).toBeUndefined());
  it('of a standstill is a flat line, not a division by zero', () => {
    expect(plot(samples.map((it) => ({ ...it, value: 0 })), 10, 10)?.line).toBe('M0.0 10.0L5.0 10.0L10.0 10.0');
  });
  it('thins many samples to means', () => {
    const many = Array.from({ length: 1000 }, (_, at) => ({ at, value: at % 2 === 0 ? 0 : 10 }));
    const few = thin(many, 100);
    expect(few).toHaveLength(100);
    expect(few.every((it) => it.value === 5)).toBe(true);
    expect(few.at(-1)?.at).toBe(999);
  });
  it.each([[1, 1], [7, 8], [130, 150], [900, 1024], [110 * 1024 ** 2, 150 * 1024 ** 2]])('%d is drawn under %d', (value, top) => expect(roundUp(value)).toBe(top));
});
