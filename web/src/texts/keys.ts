// The words of the command palette and the keyboard.

export const palette = {
  label: 'Commands',
  placeholder: 'Go to a host, a job, a screen, or do something…',
  none: 'Nothing matches.',
  kinds: { screen: 'Go to', host: 'Host', job: 'Job', repository: 'Repository', action: 'Do' } as Record<string, string>,
  backUp: (host: string, group: string) => `Back up ${host} / ${group} now`,
  open: 'Commands',
  hint: 'Ctrl K',
};

export const keys = {
  title: 'Keyboard',
  list: [
    ['Ctrl K', 'Commands: go anywhere, do anything'],
    ['/', 'Search in the list of hosts'],
    ['g o', 'Overview'],
    ['g h', 'Hosts'],
    ['g j', 'Jobs'],
    ['g s', 'Schedules'],
    ['g r', 'Repositories'],
    ['g a', 'Alerts'],
    ['n', 'Add a host'],
    ['t', 'Light, dark or as the system'],
    ['?', 'This list'],
    ['Esc', 'Close'],
  ] as [string, string][],
};
