// The geometry of a strip of days: one letter a day in, one path for each letter out.

export type Letter = 'g' | 'w' | 'f' | 'm' | 'c' | '.';

export interface Drawn {
  width: number;
  paths: [Letter, string][];
  /** Days by letter, without those on which nothing was due. */
  counts: [Exclude<Letter, '.'>, number][];
}

const STEP = 7;
const WIDE = 5;
const HIGH = 18;
const HEIGHTS: Record<Letter, number> = { f: 18, m: 17, w: 14, g: 10, c: 6, '.': 2 };
export const DAYS = 30;

/** The newest day stands at the right; days that are not known are drawn as if nothing was due. */
export function strip(letters: string): Drawn {
  const paths = new Map<Letter, string>();
  const counts = new Map<Letter, number>();
  const padded = letters.slice(-DAYS).padStart(DAYS, '.');
  [...padded].forEach((found, index) => {
    const letter = (found in HEIGHTS ? found : '.') as Letter;
    counts.set(letter, (counts.get(letter) ?? 0) + 1);
    paths.set(letter, (paths.get(letter) ?? '') + box(index * STEP, letter));
  });
  counts.delete('.');
  const order: Letter[] = ['g', 'w', 'f', 'm', 'c'];
  const known = order.filter((letter) => counts.has(letter)) as Exclude<Letter, '.'>[];
  return { width: DAYS * STEP - 2, paths: [...paths], counts: known.map((it) => [it, counts.get(it) ?? 0]) };
}

function box(x: number, letter: Letter): string {
  // A frame is drawn on its line, so it starts half a line further in.
  const inset = letter === 'm' ? 0.7 : 0;
  const height = HEIGHTS[letter] - inset;
  return `M${x + inset} ${HIGH - height - inset}h${WIDE - 2 * inset}v${height - inset}h${-(WIDE - 2 * inset)}z`;
}
