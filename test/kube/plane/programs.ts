import { join } from 'node:path';
import { BUILDS, missingPrograms, programsFolder, SCALE_BUILDS, scaleProgramsFolder } from '../programs/programs.ts';

const OF_ALL = ['etcd', 'kube-apiserver', 'kube-scheduler'] as const;
const OF_FLEETS = ['kube-controller-manager', 'kwok', 'csi-provisioner'] as const;
/** Whatever else it needs, they are built apart from Kubernetes. */
const APART: readonly string[] = ['kwok', 'csi-provisioner'];
export type Program = (typeof OF_ALL)[number] | (typeof OF_FLEETS)[number];

/** Where each program is, or would be. */
export async function planePrograms(): Promise<(program: Program) => string> {
  const [base, scale] = await Promise.all([programsFolder(), scaleProgramsFolder()]);
  return (program) => join(APART.includes(program) ? scale : base, program);
}

/** What this machine lacks for a control plane, in words; empty where it can run one. */
export async function missingOf({ fleet }: { readonly fleet: boolean }): Promise<string> {
  const [base, scale] = await Promise.all([programsFolder(), scaleProgramsFolder()]);
  const missing = await Promise.all([
    ...BUILDS.map((build) => missingPrograms(build, base)),
    ...SCALE_BUILDS.map((build) => missingPrograms(build, scale)),
  ]);
  const needed: readonly string[] = fleet ? [...OF_ALL, ...OF_FLEETS] : OF_ALL;
  const lacking = missing.flat().filter((name) => needed.includes(name));
  return lacking.length === 0 ? '' : `${lacking.join(', ')}: \`make test-kube\` builds them`;
}
