import { DEVICE_PLUGIN_PRIVILEGES } from '../../device-plugin/index.ts';

const WORDS: Readonly<Record<string, string>> = { cufile: 'cufile and gds', claims: 'mode dra' };

/** docs/reference/device-plugin-privileges.md, whole. */
export function privilegesReference(): string {
  const { user, capabilities, mayGainPrivileges, hostNetwork, hostPaths } = DEVICE_PLUGIN_PRIVILEGES;
  const rows = hostPaths.map(
    ({ hostPath, access, neededFor, why }) =>
      `| \`${hostPath}\` | ${access} | ${neededFor.map((need) => WORDS[need] ?? need).join(', ')} | ${why} |`,
  );
  return `# What the device plugin needs of a node

Generated from \`device-plugin/privileges.ts\` by \`node scripts/privileges-reference.ts\`; a test compares the two. The DaemonSet of the chart is
compared with the same list, and \`test/integration/device-plugin/least-privilege.test.ts\` runs the plugin with exactly this, then without each of
it in turn.

| what | needed |
|---|---|
| user | ${user}: the kubelet's folders and sockets are root's |
| capabilities | ${capabilities.length === 0 ? 'none' : capabilities.join(', ')} |
| privileged, \`allowPrivilegeEscalation\` | ${mayGainPrivileges ? 'yes' : 'no'} |
| network of the host | ${hostNetwork ? 'yes: addresses of HCAs for `cufile.json`, events of their links' : 'no'} |
| processes and IPC of the host | no |
| writable root file system | no |

Paths of the host, and nothing else of it:

| path | access | for | without it there is not |
|---|---|---|---|
${rows.join('\n')}
`;
}
