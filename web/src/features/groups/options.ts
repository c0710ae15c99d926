// How a source group is backed up: the fields of the form, and what the API takes. Pure.

import type { components } from '../../api/generated';
import { listOf } from './paths';

export type GroupOptions = components['schemas']['GroupOptions'];
export type Preset = components['schemas']['ExcludePreset'];
export type SourceKind = components['schemas']['CommandSource']['preset'];

export const PRESETS: readonly Preset[] = ['system_pseudo', 'temporary', 'caches', 'development', 'trash', 'containers'];
export const SOURCES: readonly SourceKind[] = ['postgresql', 'mysql', 'sqlite', 'redis', 'mongodb'];

export interface OptionFields {
  presets: readonly Preset[];
  caches: boolean;
  oneFileSystem: boolean;
  /** Names, one on each line. */
  pre: string;
  post: string;
  source: SourceKind | '';
  database: string;
  retries: string | number | null;
  /** Minutes before the second try. */
  backoff: string | number | null;
}

/** What the form shows of stored options. */
export function fieldsOf(options: GroupOptions | undefined): OptionFields {
  return {
    presets: options?.exclude_presets ?? [],
    caches: options?.exclude_caches ?? false,
    oneFileSystem: options?.one_file_system ?? false,
    pre: (options?.hooks?.pre ?? []).join('\n'),
    post: (options?.hooks?.post ?? []).join('\n'),
    source: options?.source?.preset ?? '',
    database: options?.source?.database ?? '',
    retries: options?.retry_max ? String(options.retry_max) : '',
    backoff: options?.retry_backoff_seconds ? String(Math.round(options.retry_backoff_seconds / 60)) : '',
  };
}

/** The options as the API takes them; what the form has no field for stays as it was. */
export function optionsOf(fields: OptionFields, before: GroupOptions | undefined): GroupOptions {
  const options: GroupOptions = {};
  if (before?.bandwidth) options.bandwidth = before.bandwidth;
  if (before?.timeout_seconds) options.timeout_seconds = before.timeout_seconds;
  if (fields.presets.length > 0) options.exclude_presets = PRESETS.filter((preset) => fields.presets.includes(preset));
  if (fields.caches) options.exclude_caches = true;
  if (fields.oneFileSystem) options.one_file_system = true;
  const [pre, post] = [listOf(fields.pre), listOf(fields.post)];
  if (pre.length + post.length > 0) options.hooks = { pre, post };
  if (fields.source) options.source = { preset: fields.source, database: fields.database.trim() };
  const [retries, backoff] = [Number(fields.retries ?? ''), Number(fields.backoff ?? '')];
  if (retries > 0) {
    options.retry_max = retries;
    if (backoff > 0) options.retry_backoff_seconds = Math.round(backoff * 60);
  }
  return options;
}

/** The first name of a hook that cannot be one; the server only ever passes names on. */
export function unfitHook(fields: OptionFields): string | undefined {
  return [...listOf(fields.pre), ...listOf(fields.post)].find((name) => !/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(name));
}
