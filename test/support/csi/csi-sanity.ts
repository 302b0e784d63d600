import { execFile } from 'node:child_process';
import { access, mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { z } from 'zod';

const run = promisify(execFile);

const VERSION = 'v5.5.0';
const PACKAGE = `github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity@${VERSION}`;
const BUILD_TIMEOUT_MS = 8 * 60_000;
const RUN_TIMEOUT_MS = 4 * 60_000;

export async function hasGo(): Promise<boolean> {
  return await run('go', ['version']).then(
    () => true,
    () => false,
  );
}

/** Builds the program once per machine, into the user's cache. */
export async function csiSanityProgram(): Promise<string> {
  const cache = process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache');
  const folder = join(cache, 'nabustore', `csi-sanity-${VERSION}`);
  const program = join(folder, 'csi-sanity');
  const exists = await access(program).then(
    () => true,
    () => false,
  );
  if (exists) return program;
  await mkdir(folder, { recursive: true });
  const building = await mkdtemp(join(folder, 'building-'));
  try {
    process.stdout.write(`building csi-sanity ${VERSION}, about a minute, once per machine\n`);
    const env = { ...process.env, GOBIN: building, CGO_ENABLED: '0' };
    await run('go', ['install', PACKAGE], { env, timeout: BUILD_TIMEOUT_MS });
    await rename(join(building, 'csi-sanity'), program);
  } finally {
    await rm(building, { recursive: true, force: true });
  }
  return program;
}

const reportSchema = z.array(
  z.object({
    SpecReports: z.array(
      z.object({
        ContainerHierarchyTexts: z.array(z.string()).nullable(),
        LeafNodeType: z.string(),
        LeafNodeText: z.string(),
        State: z.string(),
        Failure: z.object({ Message: z.string() }).optional(),
      }),
    ),
  }),
);

export type SanityResult = {
  readonly passed: readonly string[];
  readonly failed: readonly { readonly name: string; readonly message: string }[];
  readonly skipped: readonly { readonly name: string; readonly reason: string }[];
  /** Left out by csi-sanity itself, whatever the driver. */
  readonly pending: readonly string[];
};

export type SanityRun = {
  readonly endpoint: string;
  readonly accessType: 'mount' | 'block';
  /** An existing folder for mount points, parameters and the report. */
  readonly folder: string;
  readonly volumeBytes: number;
};

export async function runCsiSanity({ endpoint, accessType, folder, volumeBytes }: SanityRun): Promise<SanityResult> {
  const report = join(folder, `sanity-${accessType}.json`);
  const flags = [
    ...['-csi.endpoint', `unix://${endpoint}`],
    ...['-csi.mountdir', join(folder, `target-${accessType}`)],
    ...['-csi.stagingdir', join(folder, `staging-${accessType}`)],
    ...['-csi.testvolumesize', String(volumeBytes)],
    ...['-csi.testvolumeexpandsize', String(2 * volumeBytes)],
    ...['-csi.testvolumeaccesstype', accessType],
    '-csi.testnodevolumeattachlimit',
    '-ginkgo.no-color',
    ...['-ginkgo.json-report', report],
  ];
  // Failed specs end the program with status 1; the report tells which.
  await run(await csiSanityProgram(), flags, { timeout: RUN_TIMEOUT_MS, maxBuffer: 64 << 20 }).catch((err: unknown) => {
    if (Reflect.get(Object(err), 'code') !== 1) throw err;
  });
  return summarise(reportSchema.parse(JSON.parse(await readFile(report, 'utf8'))));
}

function summarise(report: z.output<typeof reportSchema>): SanityResult {
  const specs = report.flatMap((suite) => suite.SpecReports).filter((spec) => spec.LeafNodeType === 'It');
  const rows = specs.map((spec) => ({
    name: [...(spec.ContainerHierarchyTexts ?? []), spec.LeafNodeText].join(' '),
    state: spec.State,
    message: spec.Failure?.Message ?? '',
  }));
  const having = (...states: string[]) => rows.filter((row) => states.includes(row.state));
  return {
    passed: having('passed').map(({ name }) => name),
    skipped: having('skipped').map(({ name, message }) => ({ name, reason: message })),
    pending: having('pending').map(({ name }) => name),
    failed: rows
      .filter((row) => !['passed', 'skipped', 'pending'].includes(row.state))
      .map(({ name, message }) => ({ name, message })),
  };
}
