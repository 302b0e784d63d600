// Builds the programs of a Kubernetes test cluster that are not there yet into the user's cache folder. Without Go it says so
// and ends well: the tests that need the programs then leave themselves out, counted.
// usage: main.ts
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { PidFile } from '../../../common/fs/index.ts';
import { untilHeld } from '../host/lock.ts';
import { buildPrograms, hasGo } from './go.ts';
import { helmProgram } from './helm.ts';
import {
  BUILDS,
  type GoBuild,
  missingPrograms,
  programsFolder,
  SCALE_BUILDS,
  scaleProgramsFolder,
} from './programs.ts';

/** Somebody else builds them: as long as that takes on two cores. */
const WAIT_MS = 30 * 60_000;

const say = (line: string): boolean => process.stdout.write(`kube-build: ${line}\n`);

const sets: readonly (readonly [readonly GoBuild[], string])[] = [
  [BUILDS, await programsFolder()],
  [SCALE_BUILDS, await scaleProgramsFolder()],
];
const canBuild = await hasGo();
let isMissing = false;
for (const [builds, folder] of sets) {
  const missing = (await Promise.all(builds.map((build) => missingPrograms(build, folder)))).flat();
  if (missing.length === 0) continue;
  isMissing = true;
  if (canBuild) await buildAll(builds, folder);
}
if (isMissing && !canBuild) {
  say('***');
  say('*** Go is not installed, and the Kubernetes of the tests is built with it: its tests will be SKIPPED');
  say('***');
}
// Here rather than in the tests that use it: they have no minutes to wait.
if (canBuild) await helmProgram();

async function buildAll(builds: readonly GoBuild[], folder: string): Promise<void> {
  say(`into ${folder} (once; minutes)`);
  await mkdir(folder, { recursive: true });
  const lock = await untilHeld(
    () => PidFile.acquire(join(folder, 'build.pid')),
    WAIT_MS,
    (holder) => say(`waiting for process ${holder}, which builds the same`),
  );
  try {
    for (const build of builds) await buildPrograms(build, folder, say);
  } finally {
    await lock.release();
  }
}
