// The words for what agents of other systems cannot do. They are the server's own.

export const abilities = {
  words: {
    backup: 'start a backup on command',
    cancel: 'cancel a job',
    pause: 'pause a job',
    resume: 'resume a job',
    logs: 'send a job’s log',
    snapshots: 'list its snapshots',
    configure: 'take its configuration from here',
    schedule: 'run a schedule of its own',
    restore: 'restore files on command',
    look: 'look into a snapshot on command',
    maintain: 'maintain a repository on command',
  },
  cannot: (what: string, dialect: string) => `This host’s agent cannot ${what}${dialect ? `: it speaks ${dialect}` : ''}.`,
  speaks: 'Speaks',
  lacks: 'Cannot',
};
