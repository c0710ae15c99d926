// Paths of a snapshot, put together and taken apart. Pure.

export interface Crumb {
  name: string;
  path: string;
}

/** The folders on the way to a path, the top first. */
export function crumbs(path: string): Crumb[] {
  const names = path.split('/').filter(Boolean);
  return names.map((name, index) => ({ name, path: `/${names.slice(0, index + 1).join('/')}` }));
}

/** A name inside a folder. */
export function join(folder: string, name: string): string {
  return folder === '/' ? `/${name}` : `${folder}/${name}`;
}

/** Where a path ends up when it is restored below a folder. */
export function placed(folder: string, path: string): string {
  const base = folder.replace(/\/+$/, '');
  return path === '/' ? base || '/' : `${base}${path}`;
}

/** The mode as `ls` writes it: `rwxr-xr-x`. */
export function modeText(mode: number): string {
  const bits = 'rwxrwxrwx';
  return [...bits].map((letter, index) => ((mode >> (8 - index)) & 1 ? letter : '-')).join('');
}

/** Whether restic can be asked for this name; one with broken bytes was told with other letters. */
export function nameable(name: string): boolean {
  return !name.includes('\ufffd');
}

/** Folders first, each kind by name. */
export function inOrder<T extends { kind: string; name: string }>(entries: readonly T[], compare: (a: string, b: string) => number): T[] {
  const folder = (it: T) => (it.kind === 'directory' ? 0 : 1);
  return [...entries].sort((a, b) => folder(a) - folder(b) || compare(a.name, b.name));
}
