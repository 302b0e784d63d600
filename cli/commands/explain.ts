import { readFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { KubeConfig } from '@kubernetes/client-node';
import type { Command } from 'commander';
import { NabuError } from '../../common/errors/index.ts';
import { print, reportFailure } from '../output.ts';
import { describeExplanation, explanationSchema, type PlacementExplanation } from '../placement-explanation.ts';

type ExplainOptions = {
  readonly extender: string;
  readonly namespace?: string;
  readonly kubeconfig?: string;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly best: string;
  readonly json?: boolean;
};

const PAGE_ITEMS = 500;
const TIMEOUT_MS = 30_000;
const ANSWER_LIMIT_BYTES = 256 << 20;

export function register(program: Command): void {
  const explain = program.command('explain').description('why things are where they are');
  explain
    .command('pod')
    .description('which nodes could take a pod, how long its data takes to each, and why the others are refused')
    .argument('<name>', 'of a pod that is there')
    .requiredOption('--extender <url>', 'where nabu scheduler-extender answers', process.env.NABU_EXTENDER)
    .option('-n, --namespace <name>', "default: the kubeconfig's")
    .option('--kubeconfig <path>', 'default: as kubectl finds it')
    .option('--ca <path>', 'authority of the extender, PEM')
    .option('--cert <path>', 'certificate to show to it, PEM')
    .option('--key <path>', 'its key, PEM')
    .option('--best <count>', 'nodes that are shown, the best first', '10')
    .option('--json', 'print JSON for scripts, with all nodes')
    .action(async (name: string, options: ExplainOptions) => {
      try {
        const explanation = await explained(name, options);
        print(options.json === true, explanation, () => describeExplanation(explanation, bestOf(options.best)));
      } catch (err) {
        reportFailure(err, options.json === true);
      }
    });
}

function bestOf(text: string): number {
  const best = Number(text);
  if (Number.isInteger(best) && best > 0) return best;
  throw NabuError.of('INVALID_ARGUMENT', { field: 'best', reason: 'it is no whole number above 0' });
}

async function explained(name: string, options: ExplainOptions): Promise<PlacementExplanation> {
  const { Pod, NodeNames } = await asScheduler(name, options);
  const answer = await ask(options, JSON.stringify({ Pod, Nodes: null, NodeNames }));
  const { success, data } = explanationSchema.safeParse(answer);
  if (success) return data;
  const said: unknown = Reflect.get(Object(answer), 'Error') ?? Reflect.get(Object(answer), 'message');
  if (typeof said === 'string' && said !== '')
    throw NabuError.of('UNAVAILABLE', { target: options.extender, reason: said });
  throw NabuError.of('PROTOCOL_ERROR', { peer: options.extender, reason: 'it has not answered with an explanation' });
}

/** What a scheduler that knows all nodes would ask. */
async function asScheduler(name: string, options: ExplainOptions): Promise<{ Pod: unknown; NodeNames: string[] }> {
  const library = await import('@kubernetes/client-node');
  const config: KubeConfig = new library.KubeConfig();
  if (options.kubeconfig === undefined) config.loadFromDefault();
  else config.loadFromFile(options.kubeconfig);
  const namespace = options.namespace ?? config.getContextObject(config.getCurrentContext())?.namespace ?? 'default';
  const core = config.makeApiClient(library.CoreV1Api);
  try {
    const pod = await core.readNamespacedPod({ namespace, name });
    const names: string[] = [];
    for (let next: string | undefined; ; ) {
      const page = await core.listNode({ limit: PAGE_ITEMS, ...(next === undefined ? {} : { _continue: next }) });
      names.push(...page.items.map((node) => node.metadata?.name ?? ''));
      next = page.metadata?._continue || undefined;
      if (next === undefined) break;
    }
    return { Pod: pod, NodeNames: names };
  } catch (err) {
    const code: unknown = Reflect.get(Object(err), 'code');
    const operation = `pod ${namespace}/${name}`;
    if (code === 404) throw NabuError.of('KUBE_NOT_FOUND', { operation, reason: 'status 404' }, { cause: err });
    const reason = typeof code === 'number' ? `status ${code}` : 'the connection failed';
    throw NabuError.of('UNAVAILABLE', { target: 'the API server', reason }, { cause: err });
  }
}

async function ask({ extender, ca, cert, key }: ExplainOptions, body: string): Promise<unknown> {
  if (!URL.canParse(extender)) throw NabuError.of('INVALID_ARGUMENT', { field: 'extender', reason: 'it is no URL' });
  const url = new URL('/filter?explain', extender);
  const pem = async (path: string | undefined): Promise<Buffer | undefined> =>
    path === undefined ? undefined : await readFile(path);
  const tls = { ca: await pem(ca), cert: await pem(cert), key: await pem(key) };
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
  const given = { method: 'POST', headers, signal: AbortSignal.timeout(TIMEOUT_MS) };
  return await new Promise((resolve, reject) => {
    const failed = (err: Error): void =>
      reject(NabuError.of('UNAVAILABLE', { target: extender, reason: err.message }, { cause: err }));
    const send = url.protocol === 'http:' ? httpRequest(url, given) : httpsRequest(url, { ...given, ...tls });
    send.once('error', failed);
    send.once('response', (response) => {
      const parts: Buffer[] = [];
      let sizeBytes = 0;
      response.on('data', (part: Buffer) => {
        sizeBytes += part.length;
        if (sizeBytes > ANSWER_LIMIT_BYTES) response.destroy(new RangeError('the answer is too long'));
        else parts.push(part);
      });
      response.once('error', failed);
      response.once('end', () => {
        try {
          resolve(JSON.parse(Buffer.concat(parts).toString()));
        } catch (err) {
          const reason = `no JSON, status ${response.statusCode}`;
          reject(NabuError.of('PROTOCOL_ERROR', { peer: extender, reason }, { cause: err }));
        }
      });
    });
    send.end(body);
  });
}
