import { expect, test } from 'vitest';

import { labelsOf } from './labels';

test('labels are lines of a name and a value, which may hold what it likes', () => {
  expect(labelsOf('rack = b7\n\nurl=https://x/?a=b')).toEqual({ values: { rack: 'b7', url: 'https://x/?a=b' } });
  expect(labelsOf('rack=b7\nnonsense').mistake).toBe('nonsense');
  expect(labelsOf('=b7').mistake).toBe('=b7');
});
