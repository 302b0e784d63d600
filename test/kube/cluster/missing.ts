import { access, stat } from 'node:fs/promises';
import { BUSYBOX } from '../images/index.ts';
import { hasGo } from '../programs/go.ts';
import { BUILDS, missingPrograms, programsFolder } from '../programs/programs.ts';

/** Debian's packages, by what they bring. */
const PACKAGES: Readonly<Record<string, string>> = {
  '/usr/sbin/runc': 'runc',
  '/usr/lib/cni/bridge': 'containernetworking-plugins',
  [BUSYBOX]: 'busybox-static',
};

/** What this machine lacks for a cluster, in words; empty where it can run one. */
export async function missingForCluster(): Promise<string> {
  if (process.getuid?.() !== 0) return 'root, for a kubelet';
  const folder = await programsFolder();
  const programs = (await Promise.all(BUILDS.map((build) => missingPrograms(build, folder)))).flat();
  if (programs.length > 0) {
    return (await hasGo())
      ? `${programs.join(', ')} yet: \`make test-kube\` builds them`
      : 'Go, which builds the Kubernetes of the tests';
  }
  for (const [path, name] of Object.entries(PACKAGES)) {
    const isThere = await access(path).then(
      () => true,
      () => false,
    );
    if (!isThere) return `${path} (package ${name})`;
  }
  return '';
}

/** Throws where another kubelet has this machine: the folder of device plugins is one for all. */
export async function refuseNode(): Promise<void> {
  const checkpoint = '/var/lib/kubelet/device-plugins/kubelet_internal_checkpoint';
  if ((await stat(checkpoint).catch(() => undefined)) === undefined) return;
  throw new Error(`this machine is a Kubernetes node already: ${checkpoint} is there, and one machine has one kubelet`);
}
