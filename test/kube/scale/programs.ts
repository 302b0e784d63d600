import { join } from 'node:path';
import { BUILDS, missingPrograms, programsFolder, SCALE_BUILDS, scaleProgramsFolder } from '../programs/programs.ts';

const NEEDED = [
  'etcd',
  'kube-apiserver',
  'kube-controller-manager',
  'kube-scheduler',
  'kwok',
  'csi-provisioner',
] as const;
export type ScaleProgram = (typeof NEEDED)[number];

/** Where each program is. */
export async function scalePrograms(): Promise<Readonly<Record<ScaleProgram, string>>> {
  const [base, scale] = await Promise.all([programsFolder(), scaleProgramsFolder()]);
  return {
    etcd: join(base, 'etcd'),
    'kube-apiserver': join(base, 'kube-apiserver'),
    'kube-controller-manager': join(base, 'kube-controller-manager'),
    'kube-scheduler': join(base, 'kube-scheduler'),
    kwok: join(scale, 'kwok'),
    'csi-provisioner': join(scale, 'csi-provisioner'),
  };
}

/** What this machine lacks for thousands of nodes, in words; empty where it can run them. */
export async function missingForScale(): Promise<string> {
  const [base, scale] = await Promise.all([programsFolder(), scaleProgramsFolder()]);
  const missing = await Promise.all([
    ...BUILDS.map((build) => missingPrograms(build, base)),
    ...SCALE_BUILDS.map((build) => missingPrograms(build, scale)),
  ]);
  const needed = missing.flat().filter((name) => NEEDED.some((program) => program === name));
  return needed.length === 0 ? '' : `${needed.join(', ')}: \`make test-kube\` builds them`;
}
