import type { Context } from 'mocha';
import { skip } from '../support/skip.ts';
import { KubeCluster, type KubeClusterOptions } from './cluster/index.ts';

/** Another run on this machine may have the only kubelet there can be. */
const WAIT_MS = 4 * 60_000;

let starting: Promise<KubeCluster> | undefined;

let hasFailed = false;

// Of the whole run, not of the file that imports this first.
afterEach(function () {
  if (this.currentTest?.state === 'failed') hasFailed = true;
});
after(async () => {
  if (hasFailed) await keepLogs();
  await endSharedCluster();
});

/**
 * For `before` hooks: the one cluster of this run, started when somebody first asks; or the one that somebody keeps running by
 * hand. Leaves the tests out, counted, where this machine cannot run one.
 */
export async function sharedCluster(context: Context): Promise<KubeCluster> {
  const missing = await KubeCluster.missing();
  if (missing !== '') skip(context, missing);
  context.timeout(WAIT_MS + 2 * 60_000);
  starting ??= attachOrStart({ waitMs: WAIT_MS });
  return await starting;
}

async function attachOrStart(options: KubeClusterOptions): Promise<KubeCluster> {
  const byHand = await KubeCluster.attach();
  if (byHand === undefined) return await KubeCluster.start(options);
  process.stdout.write('kube: these tests use the cluster that runs on this machine\n');
  return byHand;
}

async function keepLogs(): Promise<void> {
  const cluster = await starting?.catch(() => undefined);
  if (cluster !== undefined)
    process.stdout.write(`kube: logs of the cluster are kept in ${await cluster.keepLogs()}\n`);
}

/** For tests that need the machine without a cluster. The next sharedCluster() starts another. */
export async function endSharedCluster(): Promise<void> {
  const cluster = await starting?.catch(() => undefined);
  starting = undefined;
  if (cluster?.isOwned === true) await cluster.stop();
}
