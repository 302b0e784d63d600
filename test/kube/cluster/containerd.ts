import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PAUSE_IMAGE } from '../images/index.ts';
import type { ClusterLayout } from './layout.ts';

/** Where Debian puts them. */
const CNI_PLUGINS = '/usr/lib/cni';
const POD_NETWORK = '10.203.0.0/24';

/** https://github.com/containerd/containerd/blob/v2.2.9/docs/cri/config.md, version 3 */
function configuration(layout: ClusterLayout): string {
  const quoted = (text: string): string => JSON.stringify(text);
  return `version = 3
root = ${quoted(join(layout.containerd, 'root'))}
state = ${quoted(join(layout.containerd, 'state'))}
temp = ${quoted(join(layout.containerd, 'temp'))}
imports = []
disabled_plugins = ['io.containerd.snapshotter.v1.erofs', 'io.containerd.differ.v1.erofs']

[grpc]
  address = ${quoted(layout.containerdSocket)}

[plugins.'io.containerd.internal.v1.opt']
  path = ${quoted(join(layout.containerd, 'opt'))}

[plugins.'io.containerd.image-verifier.v1.bindir']
  bin_dir = ${quoted(join(layout.containerd, 'verifiers'))}

[plugins.'io.containerd.cri.v1.images']
  snapshotter = 'overlayfs'
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = ${quoted(PAUSE_IMAGE)}

[plugins.'io.containerd.cri.v1.runtime']
  disable_apparmor = true
  # Without CAP_SYS_RESOURCE nobody may lower a score: runc would end with "can't get final child's PID".
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  # A container is held to its huge pages as its pod is.
  disable_hugetlb_controller = false
  enable_cdi = true
  cdi_spec_dirs = [${quoted(layout.cdi)}]
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = [${quoted(CNI_PLUGINS)}]
    conf_dir = ${quoted(layout.cni)}
  [plugins.'io.containerd.cri.v1.runtime'.containerd]
    default_runtime_name = 'runc'
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
      runtime_type = 'io.containerd.runc.v2'
      [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
        Root = ${quoted(join(layout.containerd, 'runc'))}
        SystemdCgroup = false

[plugins.'io.containerd.nri.v1.nri']
  disable = false
  disable_connections = false
  socket_path = ${quoted(layout.nriSocket)}
  plugin_path = ${quoted(join(layout.nri, 'plugins'))}
  plugin_config_path = ${quoted(join(layout.nri, 'conf.d'))}
`;
}

/** https://www.cni.dev/plugins/current/main/bridge/: no address translation, as no pod of a test leaves the machine. */
function network(layout: ClusterLayout, bridge: string): object {
  return {
    cniVersion: '1.0.0',
    name: 'nabustore-test',
    plugins: [
      {
        type: 'bridge',
        bridge,
        isGateway: true,
        ipMasq: false,
        ipam: {
          type: 'host-local',
          ranges: [[{ subnet: POD_NETWORK }]],
          routes: [{ dst: '0.0.0.0/0' }],
          dataDir: join(layout.cni, 'addresses'),
        },
      },
    ],
  };
}

/** Writes what containerd reads; its arguments. */
export async function containerdArgs(layout: ClusterLayout, bridge: string): Promise<string[]> {
  const config = join(layout.containerd, 'config.toml');
  const folders = [layout.containerd, layout.cni, layout.cdi, join(layout.nri, 'plugins'), join(layout.nri, 'conf.d')];
  await Promise.all(folders.map((folder) => mkdir(folder, { recursive: true })));
  await writeFile(config, configuration(layout));
  await writeFile(join(layout.cni, '10-test.conflist'), JSON.stringify(network(layout, bridge)));
  return ['--config', config];
}
