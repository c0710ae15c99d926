// The words of signing in, people, tokens, audit and settings.

import type { Role } from '../api/types';

export const account = {
  signOut: 'Sign out',
  role: (role: string) => `Role: ${role}`,
  settings: 'Settings',
};

export const roles: Record<Role, string> = { viewer: 'Viewer', operator: 'Operator', admin: 'Administrator' };

export const roleHelp: Record<Role, string> = {
  viewer: 'sees everything, changes nothing',
  operator: 'also starts, stops and restores',
  admin: 'also changes hosts, schedules, repositories and people',
};

export const signIn = {
  title: 'Sign in',
  how: 'How to sign in',
  person: 'Name and password',
  token: 'API token',
  name: 'Name',
  password: 'Password',
  code: 'Code of your authenticator',
  codeHelp: 'Six digits; a new one every 30 seconds.',
  tokenLead: 'Paste an API token. It stays in a cookie that scripts cannot read.',
  placeholder: 'hf_api_…',
  submit: 'Sign in',
  busy: 'Signing in',
  howTitle: 'No token yet?',
  howCreate: 'Create one on the machine that runs the server:',
  command: 'holdfast token create NAME --role admin --data DIR',
  empty: 'Paste a token first.',
  emptyAction: 'A token begins with hf_api_.',
  ended: 'You were signed out.',
  endedAction: 'The sign-in has ended or was ended somewhere else. Sign in again.',
};

export const setup = {
  title: 'Welcome to Holdfast',
  lead: 'Make the first administrator. The one-time code proves that this server is yours.',
  code: 'One-time code',
  codeHelp: 'The server printed it when it started for the first time.',
  name: 'Your name',
  password: 'Password',
  passwordHelp: 'Ten characters or more; a few unrelated words are good.',
  again: 'Password once more',
  differ: 'The two passwords differ.',
  differAction: 'Type the same one twice.',
  submit: 'Create the administrator',
  busy: 'Creating',
};

export const settings = {
  title: 'Settings',
  tabs: { label: 'Settings', you: 'You', users: 'Users', tokens: 'API tokens', audit: 'Audit' },
  who: 'Signed in as',
  byToken: 'with an API token',
  appearance: 'Appearance',
  appearanceHelp: 'Kept in this browser.',
  password: 'Password',
  oldPassword: 'Old password',
  newPassword: 'New password',
  changePassword: 'Change password',
  passwordChanged: 'Changed. Other sign-ins of yours have ended.',
  totp: 'Second factor',
  totpOn: 'Signing in asks for a code of your authenticator.',
  totpOff: 'Signing in asks for the password only. An authenticator app makes a stolen password useless.',
  totpStart: 'Set up an authenticator',
  totpScan: 'Add this to your authenticator app, then type the code it shows.',
  totpOpen: 'Open in an app on this device',
  totpSecret: 'Secret',
  totpConfirm: 'Switch it on',
  totpEnd: 'Switch it off',
  totpEndHelp: 'Your password, to be sure it is you.',
  signIns: 'Where you are signed in',
  allSignIns: 'Everyone’s',
  mySignIns: 'Only mine',
  current: 'this one',
  endSignIn: 'End',
  seen: 'seen',
  began: 'began',
};

export const users = {
  lead: 'People who may sign in. A role counts for the host groups named with it; * means all.',
  add: 'Add user',
  addTitle: 'Add a user',
  editTitle: (name: string) => `Change ${name}`,
  columns: { name: 'Name', role: 'Role', groups: 'Host groups', totp: 'Second factor', last: 'Last sign-in' },
  name: 'Name',
  role: 'Role',
  groups: 'Host groups',
  groupsHelp: 'With commas between; * for all.',
  password: 'First password',
  newPassword: 'New password',
  newPasswordHelp: 'Leave empty to keep the one there is.',
  on: 'on',
  off: 'off',
  disabled: 'switched off',
  disable: 'May not sign in',
  edit: 'Change',
  remove: 'Remove',
  removeTitle: (name: string) => `Remove ${name}?`,
  removeBody: 'Every sign-in of this person ends at once. What they did stays in the audit trail.',
  submit: 'Add user',
  save: 'Save',
};

export const tokens = {
  lead: 'For scripts and for the command line. A token is shown once, when it is made.',
  add: 'Make a token',
  addTitle: 'Make an API token',
  emptyTitle: 'No API tokens',
  empty: 'Scripts and the `holdfast` command sign in with one.',
  columns: { name: 'Name', role: 'Role', groups: 'Host groups', expires: 'Expires', used: 'Last used' },
  name: 'Name',
  nameHelp: 'What it is for.',
  expires: 'Expires',
  lives: { '': 'Never', 2592000: 'After 30 days', 7776000: 'After 90 days', 31536000: 'After a year' } as Record<string, string>,
  made: 'Copy it now: it cannot be shown again.',
  remove: 'Revoke',
  removeTitle: (name: string) => `Revoke ${name}?`,
  removeBody: 'Whatever uses it is refused from now on.',
  submit: 'Make token',
};

export const audit = {
  lead: 'Who did what, when and from where. Each entry is chained to the one before it, so that none can be changed unnoticed.',
  verify: 'Check the chain',
  whole: (count: string) => `The chain of ${count} entries is whole.`,
  broken: (seq: string) => `The chain is broken at entry ${seq}.`,
  brokenAction: 'Somebody changed the database. Compare it with your last backup.',
  actor: 'Who',
  action: 'Action begins with',
  columns: { at: 'When', actor: 'Who', action: 'What', subject: 'On', address: 'From' },
  details: 'What changed',
  before: 'before',
  after: 'after',
  emptyTitle: 'No entries',
  empty: 'Nothing matches.',
};
