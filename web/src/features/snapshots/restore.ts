// What a restore was asked for and what came of it, read from a job. Pure.

import type { Host, Restored, RestoreOrder } from '../../api/types';
import { texts } from '../../texts';
import { placed } from './tree';

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;

/** The order in a job's parameters; `undefined` where there is none. */
export function orderOf(parameters: unknown): RestoreOrder | undefined {
  if (!isObject(parameters) || typeof parameters['snapshot_id'] !== 'string') return undefined;
  const { paths, target, overwrite } = parameters;
  return {
    snapshot_id: parameters['snapshot_id'],
    paths: Array.isArray(paths) ? paths.map(String) : [],
    target: isObject(target) && typeof target['directory'] === 'string' ? { directory: target['directory'] } : 'original',
    overwrite: (['always', 'if_changed', 'if_newer', 'never'] as const).find((it) => it === overwrite) ?? 'always',
    dry_run: parameters['dry_run'] === true,
    verify: parameters['verify'] === true,
  };
}

/** The first restic that can look without writing, or leave files alone. */
const CAREFUL = [0, 17];

/** Why this host can only replace files, without a look before; nothing when its restic can more. */
export function carelessness(host: Host): string | undefined {
  const version = /^(\d+)\.(\d+)/.exec(host.restic_version)?.slice(1).map(Number);
  // What is not known is not forbidden: the host itself refuses what it cannot do.
  if (!version) return undefined;
  const [major = 0, minor = 0] = version;
  const [careful = 0, enough = 0] = CAREFUL;
  const old = major < careful || (major === careful && minor < enough);
  return old ? texts.restore.careless(host.restic_version, CAREFUL.join('.')) : undefined;
}

/** What came of a restore, as the job tells it. */
export function restoredOf(result: unknown): Restored | undefined {
  return isObject(result) && 'target' in result ? (result as unknown as Restored) : undefined;
}

/** Where each restored thing is now. */
export function places(order: RestoreOrder): string[] {
  const folder = typeof order.target === 'object' ? order.target.directory : '/';
  return (order.paths.length > 0 ? order.paths : ['/']).map((path) => placed(folder, path));
}
