import type { Command } from 'commander';
import { Deadline } from '../../common/concurrency/index.ts';
import { realClock as clock } from '../../common/ports/index.ts';
import { type GdsReport, inspectGds } from '../../device-plugin/index.ts';
import { print, reportFailure, table } from '../output.ts';

type Options = { json?: boolean; sysfsRoot: string; devRoot: string; procRoot: string };

const TIMEOUT_MS = 60_000;

function lines({ mode, requirements, fileSystems, findings }: GdsReport): string {
  const needs = table(
    ['NEEDS', 'VERDICT', 'FOUND', 'TO DO'],
    requirements.map(({ name, verdict, found, toDo }) => [name, verdict, found, toDo]),
  );
  const mounted = table(
    ['MOUNTED AT', 'KIND', 'VERDICT', 'REASON', 'O_DIRECT ALIGNMENT'],
    fileSystems.map(({ mountPoint, fsType, verdict, reason, directAlignmentBytes }) => {
      return [mountPoint, fsType, verdict, reason, directAlignmentBytes === null ? '-' : String(directAlignmentBytes)];
    }),
  );
  const odd = findings.map(({ path, reason }) => `${path} ${reason}`);
  return [`GPUDirect Storage: ${mode}`, '', needs, '', mounted, ...(odd.length > 0 ? ['', ...odd] : [])].join('\n');
}

export function registerGds(doctor: Command): void {
  doctor
    .command('gds')
    .description('what GPUDirect Storage needs, each with a verdict, and which mounted file systems it reaches')
    .option('--sysfs-root <folder>', 'where the sysfs of the machine is', '/sys')
    .option('--dev-root <folder>', 'where its device files are', '/dev')
    .option('--proc-root <folder>', 'where its procfs is', '/proc')
    .option('--json', 'print one JSON object')
    .action(async ({ json, ...roots }: Options) => {
      using deadline = new Deadline({ clock, operation: 'looking at the machine', timeoutMs: TIMEOUT_MS });
      try {
        const report = await inspectGds(roots, { signal: deadline.signal });
        print(json === true, report, () => lines(report));
      } catch (err) {
        reportFailure(err, json === true);
      }
    });
}
