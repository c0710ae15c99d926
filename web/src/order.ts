// How things are put in order. `localeCompare` is a hundred times slower than this on a large fleet.

const collator = new Intl.Collator('en', { numeric: true });

/** Names as a person orders them: `web-2` before `web-10`. */
export const byName: (a: string, b: string) => number = collator.compare;

/** Times and ids, which order by their characters. */
export function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
