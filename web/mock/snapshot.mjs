// What the invented snapshots hold: a small tree, told lazily as the server tells it.

const KIB = 1024;
const MIB = 1024 ** 2;
const day = (number) => new Date(Date.UTC(2026, 9, 1 + number, 8, 12)).toISOString();

const file = (size_bytes, at = 3) => ({ kind: 'file', size_bytes, modified_at: day(at), mode: 0o644, uid: 0, gid: 0 });
const folder = (children, at = 20) => ({ kind: 'directory', children, modified_at: day(at), mode: 0o755, uid: 0, gid: 0 });
const link = () => ({ kind: 'symlink', modified_at: day(1), mode: 0o777, uid: 0, gid: 0 });

const photos = Object.fromEntries(Array.from({ length: 1800 }, (_, index) => [`DSC_${String(4000 + index).padStart(5, '0')}.NEF`, file((19 + (index % 9)) * MIB, index % 40)]));

const TREE = folder({
  etc: folder({
    nginx: folder({ 'nginx.conf': file(2.4 * KIB, 30), 'sites-enabled': folder({ default: link(), 'atlas.conf': file(1.1 * KIB, 41) }), 'mime.types': file(5.2 * KIB) }),
    ssh: folder({ sshd_config: file(3.3 * KIB), 'ssh_host_ed25519_key.pub': file(96) }),
    fstab: file(812),
    hosts: file(221),
    passwd: file(1.7 * KIB, 12),
    'resolv.conf': link(),
  }),
  home: folder({
    anna: folder({
      Documents: folder({ 'taxes 2025.ods': file(344 * KIB, 33), 'Thesis.odt': file(8.2 * MIB, 44), 'plan.md': file(4.4 * KIB, 45), 'αλφα — naïve.txt': file(31) }),
      Pictures: folder(photos),
      '.bashrc': file(3.5 * KIB),
    }),
    jo: folder({ Mail: folder({ archive: folder({}), 'inbox.mbox': file(1.91 * 1024 * MIB, 46) }) }),
  }),
  var: folder({ lib: folder({ postgresql: folder({ 'base.tar': file(14.2 * 1024 * MIB, 46), 'pg_wal.tar': file(512 * MIB, 46) }) }), log: folder({ 'syslog.1': file(22 * MIB, 45) }) }),
});

function find(path) {
  let node = TREE;
  for (const name of path.split('/').filter(Boolean)) {
    node = node?.children?.[name];
    if (!node) return undefined;
  }
  return node;
}

const entry = (name, { children, ...rest }) => ({ name, ...rest });

/** The entries of a directory, or `undefined` where there is none. */
export function entries(path, offset, limit, extra) {
  const node = find(path);
  if (!node?.children) return undefined;
  const all = Object.entries(node.children).map(([name, it]) => entry(name, it));
  if (extra && path === '/etc') all.push({ ...file(12), name: extra });
  return { entries: all.slice(offset, offset + limit), more: all.length > offset + limit };
}

/** What has `pattern` in its name. */
export function search(pattern, limit) {
  const word = pattern.toLowerCase().replaceAll('*', '');
  const found = [];
  const walk = (node, path) => {
    for (const [name, it] of Object.entries(node.children ?? {})) {
      const here = `${path}/${name}`;
      if (name.toLowerCase().includes(word)) found.push({ path: here, ...entry(name, it) });
      walk(it, here);
    }
  };
  walk(TREE, '');
  return { entries: found.slice(0, limit), more: found.length > limit };
}

export const difference = {
  changes: [
    { path: '/etc/nginx/sites-enabled/atlas.conf', kind: 'added' },
    { path: '/etc/nginx/nginx.conf', kind: 'content' },
    { path: '/etc/passwd', kind: 'metadata' },
    { path: '/home/anna/Documents/Thesis.odt', kind: 'content' },
    { path: '/home/anna/Documents/plan.md', kind: 'content' },
    { path: '/home/anna/Downloads/', kind: 'removed' },
    { path: '/home/anna/Downloads/installer.iso', kind: 'removed' },
    { path: '/home/jo/Mail/inbox.mbox', kind: 'content' },
    { path: '/var/lib/postgresql/base.tar', kind: 'content' },
    ...Array.from({ length: 60 }, (_, index) => ({ path: `/home/anna/Pictures/DSC_0${5740 + index}.NEF`, kind: 'added' })),
  ],
  omitted: 0,
  changed_files: 5,
  added: { files: 61, directories: 0, others: 0, size_bytes: 1.4 * 1024 * MIB },
  removed: { files: 1, directories: 1, others: 0, size_bytes: 731 * MIB },
};

export const content = (path) => Buffer.from(`The content of ${path}.\n`);
