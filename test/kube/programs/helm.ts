import { mkdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { PidFile } from '../../../common/fs/index.ts';
import { untilHeld } from '../host/lock.ts';
import { buildPrograms, hasGo } from './go.ts';
import type { GoBuild } from './programs.ts';

const VERSION = 'v3.18.6';
const HELM: GoBuild = { module: 'helm', what: `helm ${VERSION}`, programs: { helm: 'helm.sh/helm/v3/cmd/helm' } };
/** On two cores that have never compiled any of it. */
export const HELM_BUILD_MS = 10 * 60_000;

/** Builds helm once per machine, into the user's cache; undefined without Go. Only the tests of the chart need it. */
export async function helmProgram(): Promise<string | undefined> {
  const cache = process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache');
  const folder = join(cache, 'nabustore', `helm-${VERSION}`);
  if (!(await hasGo())) return undefined;
  await mkdir(folder, { recursive: true });
  const say = (line: string): boolean => process.stdout.write(`kube-build: ${line}\n`);
  const lock = await untilHeld(
    () => PidFile.acquire(join(folder, 'build.pid')),
    HELM_BUILD_MS,
    (holder) => say(`waiting for process ${holder}, which builds the same`),
  );
  try {
    await buildPrograms(HELM, folder, say);
  } finally {
    await lock.release();
  }
  return join(folder, 'helm');
}
