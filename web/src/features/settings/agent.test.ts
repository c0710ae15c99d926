import { expect, test } from 'vitest';

import { browserOf } from './agent';

test('a browser is told in two words, an unknown one in its own', () => {
  expect(browserOf('Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0')).toBe('Firefox, Linux');
  expect(browserOf('Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) AppleWebKit/605.1.15 Version/19.1 Mobile Safari/604.1')).toBe('Safari, iOS');
  expect(browserOf('my-script')).toBe('my-script');
});
