// What a repository's sizes say over time. Pure.

import type { SizePoint } from '../../api/types';

/** How much more (or less) is stored than at the first point; `undefined` when that says nothing. */
export function change(sizes: readonly SizePoint[]): number | undefined {
  const [first, last] = [sizes[0], sizes.at(-1)];
  if (!first || !last || first === last) return undefined;
  return last.total_size_bytes - first.total_size_bytes || undefined;
}
