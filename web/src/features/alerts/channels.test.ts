import { expect, test } from 'vitest';

import { settingsOf } from './channels';

test('what is empty is left out, lines are a list and a port is a number', () => {
  const values = { host: ' mail.lan ', port: '587', from: 'a@lan', to: 'b@lan\n\n c@lan ', username: '', url: 'not of mail' };
  expect(settingsOf('mail', values)).toEqual({ kind: 'mail', host: 'mail.lan', port: 587, from: 'a@lan', to: ['b@lan', 'c@lan'] });
});
