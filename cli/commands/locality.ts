import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { NabuError } from '../../common/errors/index.ts';
import { createLogger } from '../../common/logging/index.ts';
import { realClock } from '../../common/ports/index.ts';
import { LocalityReports, type NodeReport } from '../kube-reports.ts';
import { LinkMeter } from '../link-meter.ts';
import { parseContent, type ReportContent, type ReportSpec } from '../locality-report.ts';
import { nodeDevices } from '../node-devices.ts';
import { print, reportFailure, table } from '../output.ts';
import { formatBytes } from '../quantity.ts';

type ReportOptions = {
  readonly file?: string;
  readonly model: readonly string[];
  readonly kvCache: readonly string[];
  readonly stored?: boolean;
  readonly linkLoad?: string;
  readonly link?: string;
  readonly devices?: string | boolean;
  readonly valid: string;
  readonly every?: string;
  readonly kubeconfig?: string;
  readonly json?: boolean;
};

const FILE_LIMIT_BYTES = 1 << 20;
/** Kubernetes, "Monitoring device plugin resources": root's alone, as the folder is. */
const POD_RESOURCES = '/var/lib/kubelet/pod-resources/kubelet.sock';
/** So long a link is looked at where there is one report. */
const LOOK_MS = 1000;

export function register(program: Command): void {
  const locality = program.command('locality').description('what nodes tell schedulers that they have cached');
  const all = (value: string, before: readonly string[]): string[] => [...before, value];
  locality
    .command('report')
    .description("publishes a node's LocalityReport: what it has cached and how busy its link is")
    .argument('<node>', 'name of the Node that it is about')
    .option('--file <path>', 'contents and linkLoadPercent as JSON, read anew for each report')
    .option('--model <id=cached/size>', 'ID[,NAME...]=CACHED[/SIZE], may be repeated', all, [])
    .option('--kv-cache <id=cached/size>', 'the same for a pool of a KV cache', all, [])
    .option('--stored', 'all of these lie in NabuStore too')
    .option('--link-load <percent>', "how busy the node's link to storage is, 0 to 100")
    .option('--link <device>', 'an interface or HCA of this machine, whose own counters say how busy it is')
    .option(
      '--devices [socket]',
      `which of our devices are free on which NUMA node, as the kubelet of this machine says`,
    )
    .option('--valid <seconds>', 'for so long it is believed, 5 to 3600', '90')
    .option('--every <seconds>', 'again and again until SIGTERM; default: once')
    .option('--kubeconfig <path>', 'default: as kubectl finds it, or as the pod that this runs in')
    .option('--json', 'print JSON for scripts')
    .action(async (node: string, options: ReportOptions) => {
      try {
        await (options.every === undefined ? reportOnce(node, options) : reportAgain(node, options, options.every));
      } catch (err) {
        reportFailure(err, options.json === true);
      }
    });
  locality
    .command('ls')
    .description('the reports that there are')
    .option('--kubeconfig <path>', 'default: as kubectl finds it')
    .option('--json', 'print JSON for scripts')
    .action(async (options: Pick<ReportOptions, 'kubeconfig' | 'json'>) => {
      try {
        const reports = await (await LocalityReports.open(options.kubeconfig)).list();
        print(options.json === true, reports, () => described(reports));
      } catch (err) {
        reportFailure(err, options.json === true);
      }
    });
}

async function reportOnce(node: string, options: ReportOptions): Promise<void> {
  const reports = await LocalityReports.open(options.kubeconfig);
  const meter = await meterOf(options);
  if (meter !== undefined) await realClock.sleep(LOOK_MS);
  const spec = await specOf(options, meter);
  await reports.publish(node, spec);
  print(options.json === true, { node, ...spec }, () => `reported for ${node}: ${spec.contents.length} contents`);
}

/** What cannot be read or published this time may be the next: told once, and the last report ages. */
async function reportAgain(node: string, options: ReportOptions, every: string): Promise<void> {
  const periodMs = wholeOf('every', every, 1, 3600) * 1000;
  const logger = createLogger({ level: 'info', fields: { binary: 'locality', node } });
  const stopping = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stopping.abort());
  const reports = await LocalityReports.open(options.kubeconfig);
  const meter = await meterOf(options);
  await specOf(options, undefined); // what the command line says cannot get better
  if (meter !== undefined) await realClock.sleep(LOOK_MS, stopping.signal).catch(() => undefined);
  let trouble: string | undefined;
  while (!stopping.signal.aborted) {
    const before = trouble;
    try {
      await reports.publish(node, await specOf(options, meter));
      trouble = '';
    } catch (err) {
      if (!NabuError.is(err)) throw err;
      trouble = err.message;
    }
    if (trouble !== before && trouble === '') logger.info('reported', { everyMs: periodMs });
    if (trouble !== before && trouble !== '') logger.warn('not reported', { reason: trouble });
    await realClock.sleep(periodMs, stopping.signal).catch(() => undefined); // the loop looks at the signal
  }
}

async function meterOf({ link, linkLoad }: ReportOptions): Promise<LinkMeter | undefined> {
  if (link === undefined) return undefined;
  if (linkLoad === undefined) return await LinkMeter.open(link, realClock);
  throw NabuError.of('INVALID_ARGUMENT', { field: 'link', reason: 'with --link-load there is nothing to measure' });
}

async function specOf(options: ReportOptions, meter: LinkMeter | undefined): Promise<ReportSpec> {
  const read: unknown = options.file === undefined ? {} : await fileOf(options.file);
  const load = (await meter?.percent()) ?? options.linkLoad ?? Reflect.get(Object(read), 'linkLoadPercent');
  const given: unknown = Reflect.get(Object(read), 'contents') ?? [];
  if (!Array.isArray(given))
    throw NabuError.of('INVALID_ARGUMENT', { field: `contents of ${options.file}`, reason: 'it is not a list' });
  const socket = options.devices === true ? POD_RESOURCES : options.devices;
  const devices = typeof socket === 'string' ? await nodeDevices(socket) : [];
  const isStored = options.stored === true;
  const contents: ReportContent[] = [
    ...given, // the API server has the schema, and says which field is wrong
    ...options.model.map((text) => parseContent('Model', text, isStored)),
    ...options.kvCache.map((text) => parseContent('KVCache', text, isStored)),
  ];
  return {
    reportedAt: new Date(realClock.nowMs()).toISOString(),
    validSeconds: wholeOf('valid', options.valid, 5, 3600),
    ...(load === undefined ? {} : { linkLoadPercent: wholeOf('linkLoadPercent', String(load), 0, 100) }),
    contents,
    ...(devices.length === 0 ? {} : { devices }),
  };
}

async function fileOf(path: string): Promise<unknown> {
  try {
    const text = await readFile(path, 'utf8');
    if (text.length <= FILE_LIMIT_BYTES) return JSON.parse(text);
  } catch (err) {
    const reason = err instanceof SyntaxError ? 'it is no JSON' : 'it cannot be read';
    throw NabuError.of('INVALID_ARGUMENT', { field: path, reason }, { cause: err });
  }
  throw NabuError.of('INVALID_ARGUMENT', { field: path, reason: `it is longer than ${FILE_LIMIT_BYTES} bytes` });
}

function wholeOf(field: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= least && value <= most) return value;
  const reason = `${JSON.stringify(text)} is not a whole number from ${least} to ${most}`;
  throw NabuError.of('INVALID_ARGUMENT', { field, reason });
}

function described(reports: readonly NodeReport[]): string {
  const rows = reports.map(({ node, spec: { reportedAt, validSeconds, linkLoadPercent, contents = [] } }) => {
    const ageS = Math.round((realClock.nowMs() - Date.parse(reportedAt)) / 1000);
    const held = contents.map(({ id, cachedBytes, sizeBytes }) => {
      return `${id} ${formatBytes(cachedBytes)}${cachedBytes < sizeBytes ? ` of ${formatBytes(sizeBytes)}` : ''}`;
    });
    const link = linkLoadPercent === undefined ? '-' : `${linkLoadPercent} %`;
    return [node, `${ageS} s${ageS > validSeconds ? ' (too old)' : ''}`, link, held.join(', ')];
  });
  return table(['NODE', 'AGE', 'LINK', 'CACHED'], rows);
}
