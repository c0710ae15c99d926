import { expect, test } from 'vitest';

import { fieldsOf, optionsOf, unfitHook } from './options';

test('nothing said is nothing sent', () => expect(optionsOf(fieldsOf(undefined), undefined)).toEqual({}));

test('options are shown and sent back the same', () => {
  const options = {
    exclude_presets: ['temporary' as const, 'caches' as const],
    exclude_caches: true,
    one_file_system: true,
    hooks: { pre: ['stop-app'], post: ['start-app', 'note'] },
    retry_max: 3,
    retry_backoff_seconds: 300,
  };
  expect(optionsOf(fieldsOf(options), options)).toEqual(options);
});

test('what the form has no field for stays', () => {
  const before = { bandwidth: { upload_kib_s: 512 }, timeout_seconds: 3600 };
  expect(optionsOf(fieldsOf(before), before)).toEqual(before);
});

test('a source needs its database, and hooks are names only', () => {
  const fields = { ...fieldsOf(undefined), source: 'sqlite' as const, database: ' notes ' };
  expect(optionsOf(fields, undefined).source).toEqual({ preset: 'sqlite', database: 'notes' });
  expect(unfitHook({ ...fields, pre: 'stop-app\n' })).toBeUndefined();
  expect(unfitHook({ ...fields, post: 'rm -rf /' })).toBe('rm -rf /');
});

test('a wait without tries is nothing', () => expect(optionsOf({ ...fieldsOf(undefined), backoff: 5 }, undefined)).toEqual({}));
