import { createHash } from 'node:crypto';
import { access, constants, readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';

const HERE = import.meta.dirname;
const KUBERNETES = 'v1.36.3';
const VERSION_PACKAGE = 'k8s.io/component-base/version';

/** Programs that one Go module builds. Their sources are pinned by the go.sum beside its go.mod. */
export type GoBuild = {
  /** Folder of the module, beside this file. */
  readonly module: string;
  readonly what: string;
  /** The name of a program, and its package. */
  readonly programs: Readonly<Record<string, string>>;
  readonly ldflags?: string;
  readonly tags?: string;
};

/** In the order of building: what others wait for first. */
export const BUILDS: readonly GoBuild[] = [
  { module: 'pause', what: 'pause', programs: { pause: '.' } },
  { module: 'guest', what: 'the guest of test pods', programs: { guest: '.' } },
  {
    module: 'containerd',
    what: 'containerd v2.2.9',
    programs: {
      containerd: 'github.com/containerd/containerd/v2/cmd/containerd',
      'containerd-shim-runc-v2': 'github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2',
      ctr: 'github.com/containerd/containerd/v2/cmd/ctr',
    },
    tags: 'no_btrfs,no_zfs,no_aufs,no_devmapper',
  },
  { module: 'etcd', what: 'etcd v3.6.8', programs: { etcd: 'go.etcd.io/etcd/server/v3' } },
  {
    module: 'kubernetes',
    what: `Kubernetes ${KUBERNETES}`,
    programs: {
      kubelet: 'k8s.io/kubernetes/cmd/kubelet',
      'kube-apiserver': 'k8s.io/kubernetes/cmd/kube-apiserver',
      'kube-controller-manager': 'k8s.io/kubernetes/cmd/kube-controller-manager',
      'kube-scheduler': 'k8s.io/kubernetes/cmd/kube-scheduler',
      kubectl: 'k8s.io/kubernetes/cmd/kubectl',
    },
    ldflags: [`gitVersion=${KUBERNETES}`, 'gitMajor=1', 'gitMinor=36']
      .map((variable) => `-X ${VERSION_PACKAGE}.${variable}`)
      .join(' '),
  },
];

/** What the tests of thousands of nodes need besides, in a folder of its own: another version of these builds nothing of the above again. */
export const SCALE_BUILDS: readonly GoBuild[] = [
  { module: 'kwok', what: 'kwok v0.8.0', programs: { kwok: 'sigs.k8s.io/kwok/cmd/kwok' } },
  {
    module: 'provisioner',
    what: 'csi-provisioner v6.3.0',
    programs: { 'csi-provisioner': 'github.com/kubernetes-csi/external-provisioner/v6/cmd/csi-provisioner' },
  },
];

export const moduleFolder = ({ module }: GoBuild): string => join(HERE, module);

async function isThere(path: string): Promise<boolean> {
  return await access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

/** Everything that decides what is built: another go.sum or another flag is another folder. */
async function fingerprint(builds: readonly GoBuild[]): Promise<string> {
  const hash = createHash('sha256').update(JSON.stringify(builds)).update(process.arch);
  for (const build of builds) {
    for (const file of ['go.mod', 'go.sum', 'main.go']) {
      hash.update(await readFile(join(moduleFolder(build), file)).catch(() => ''));
    }
  }
  return hash.digest('hex').slice(0, 12);
}

async function cacheFolder(name: string, builds: readonly GoBuild[]): Promise<string> {
  const cache = process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache');
  return join(cache, 'nabustore', `${name}-${await fingerprint(builds)}`);
}

/** Where the programs are kept between runs. */
export const programsFolder = (): Promise<string> => cacheFolder(`kube-${KUBERNETES}`, BUILDS);
export const scaleProgramsFolder = (): Promise<string> => cacheFolder('scale', SCALE_BUILDS);

/** The programs of a build that are not there yet. */
export async function missingPrograms(build: GoBuild, folder: string): Promise<string[]> {
  const names = Object.keys(build.programs);
  const present = await Promise.all(names.map((name) => isThere(join(folder, name))));
  return names.filter((_, index) => present[index] !== true);
}
