import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import type { FeatureGates } from '../cluster/control-plane.ts';

export type SchedulerSetup = {
  /** Of the process, where several run beside each other. */
  readonly name?: string;
  /** Of the extender that it asks about pods of ours; left out: it asks none. */
  readonly port?: number;
  readonly nodeCacheCapable?: boolean;
  readonly weight?: number;
  /** How long it waits for an answer; where it is not given, longer than a busy machine takes. */
  readonly httpTimeoutMs?: number;
  readonly percentageOfNodesToScore?: number;
  /** As in KubeSchedulerConfiguration; left out: the default one. */
  readonly profiles?: readonly object[];
  readonly featureGates?: FeatureGates;
};

const SHIPPED = join(import.meta.dirname, '../../../docs/examples/scheduler-configuration.yaml');
/** In the shipped configuration, the profile that the webhook sends pods of ours to. */
export const OUR_PROFILE = 'nabustore';

type Shipped = {
  readonly profiles: readonly object[];
  readonly extenders: readonly [{ readonly weight: number; readonly httpTimeout: string }];
};

/** As users are told to configure their own scheduler, but for where the extender is. */
export function shippedSetup() {
  const { profiles, extenders } = parse(readFileSync(SHIPPED, 'utf8')) as Shipped;
  const [{ weight, httpTimeout }] = extenders;
  const [, milliseconds] = /^(\d+)ms$/.exec(httpTimeout) ?? [];
  if (milliseconds === undefined) throw new RangeError(`httpTimeout: ${httpTimeout} is not in milliseconds`);
  return { profiles, weight, httpTimeoutMs: Number(milliseconds) };
}

const MARKER = 'nabustore.io/locality';

/** https://kubernetes.io/docs/reference/config-api/kube-scheduler-config.v1/ */
export function schedulerConfiguration(kubeconfig: string, setup: SchedulerSetup): object {
  const { port, nodeCacheCapable = true, weight = 20, httpTimeoutMs = 5000 } = setup;
  const { percentageOfNodesToScore, profiles } = setup;
  const extender = {
    urlPrefix: `http://127.0.0.1:${port}`,
    filterVerb: 'filter',
    prioritizeVerb: 'prioritize',
    preemptVerb: 'preempt',
    weight,
    nodeCacheCapable,
    httpTimeout: `${httpTimeoutMs}ms`,
    managedResources: [{ name: MARKER, ignoredByScheduler: true }],
  };
  return {
    apiVersion: 'kubescheduler.config.k8s.io/v1',
    kind: 'KubeSchedulerConfiguration',
    leaderElection: { leaderElect: false },
    // The default of 50 calls a second is less than a test schedules.
    clientConnection: { kubeconfig, qps: 2000, burst: 4000 },
    ...(percentageOfNodesToScore === undefined ? {} : { percentageOfNodesToScore }),
    ...(profiles === undefined ? {} : { profiles }),
    ...(port === undefined ? {} : { extenders: [extender] }),
  };
}
