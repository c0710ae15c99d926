// The geometry of a plot over time. Pure: samples in, paths out.

export interface Sample {
  /** Milliseconds since 1970. */
  at: number;
  value: number;
}

export interface Point {
  x: number;
  y: number;
  sample: Sample;
}

export interface Plot {
  points: Point[];
  line: string;
  area: string;
  /** The value at the top edge, a round number of bytes. */
  top: number;
  from: number;
  until: number;
}

/** More points than this are not visible; each drawn one is then the mean of several. */
const POINTS_MAX = 240;

/** Fits samples into a box of the given size. */
export function plot(samples: readonly Sample[], width: number, height: number): Plot | undefined {
  const thinned = thin(samples, POINTS_MAX);
  const [first, last] = [thinned[0], thinned.at(-1)];
  if (!first || !last || thinned.length < 2) return undefined;
  const top = roundUp(Math.max(...thinned.map((it) => it.value), 1));
  const span = Math.max(1, last.at - first.at);
  const points = thinned.map((sample) => ({
    x: ((sample.at - first.at) / span) * width,
    y: height - (sample.value / top) * height,
    sample,
  }));
  const line = points.map((it, i) => `${i === 0 ? 'M' : 'L'}${it.x.toFixed(1)} ${it.y.toFixed(1)}`).join('');
  return { points, line, area: `${line}L${width} ${height}L0 ${height}Z`, top, from: first.at, until: last.at };
}

/** The next number that reads well in IEC units, and so does its half. */
export function roundUp(value: number): number {
  const unit = 1024 ** Math.max(0, Math.floor(Math.log(value) / Math.log(1024)));
  const inUnit = value / unit;
  const step = [1, 1.5, 2, 3, 4, 6, 8, 10, 15, 20, 30, 40, 60, 80, 100, 150, 200, 300, 400, 600, 800, 1024].find((it) => it >= inUnit) ?? 1024;
  return step * unit;
}

/** At most `most` samples; each stands for the mean of its part. */
export function thin(samples: readonly Sample[], most: number): Sample[] {
  if (samples.length <= most) return [...samples];
  const size = samples.length / most;
  return Array.from({ length: most }, (_, index) => {
    const part = samples.slice(Math.floor(index * size), Math.floor((index + 1) * size));
    const sum = part.reduce((total, it) => total + it.value, 0);
    return { at: part.at(-1)?.at ?? 0, value: sum / part.length };
  });
}

/** The point nearest to a horizontal position. */
export function nearest(points: readonly Point[], x: number): Point | undefined {
  return points.reduce<Point | undefined>(
    (best, it) => (!best || Math.abs(it.x - x) < Math.abs(best.x - x) ? it : best),
    undefined,
  );
}
