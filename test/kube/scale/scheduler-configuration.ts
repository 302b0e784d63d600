import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';

/** Whom a scheduler asks about pods of ours. */
export type AskedExtender = {
  readonly port: number;
  readonly nodeCacheCapable?: boolean;
  readonly weight?: number;
  readonly httpTimeout?: string;
};

export type SchedulerSetup = {
  /** Of the process, where several run beside each other. */
  readonly name?: string;
  readonly extender?: AskedExtender;
  readonly percentageOfNodesToScore?: number;
  /** As in KubeSchedulerConfiguration; left out: the default one. */
  readonly profiles?: readonly object[];
  readonly featureGates?: Readonly<Record<string, boolean>>;
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
  return { profiles, extender: { weight, httpTimeout } };
}

const MARKER = 'nabustore.io/locality';

/** https://kubernetes.io/docs/reference/config-api/kube-scheduler-config.v1/ */
export function schedulerConfiguration(kubeconfig: string, setup: SchedulerSetup): object {
  const { extender, percentageOfNodesToScore, profiles } = setup;
  return {
    apiVersion: 'kubescheduler.config.k8s.io/v1',
    kind: 'KubeSchedulerConfiguration',
    leaderElection: { leaderElect: false },
    // The default of 50 calls a second is less than a test schedules.
    clientConnection: { kubeconfig, qps: 2000, burst: 4000 },
    ...(percentageOfNodesToScore === undefined ? {} : { percentageOfNodesToScore }),
    ...(profiles === undefined ? {} : { profiles }),
    ...(extender === undefined
      ? {}
      : {
          extenders: [
            {
              urlPrefix: `http://127.0.0.1:${extender.port}`,
              filterVerb: 'filter',
              prioritizeVerb: 'prioritize',
              preemptVerb: 'preempt',
              weight: extender.weight ?? 20,
              nodeCacheCapable: extender.nodeCacheCapable ?? true,
              httpTimeout: extender.httpTimeout ?? '5s',
              managedResources: [{ name: MARKER, ignoredByScheduler: true }],
            },
          ],
        }),
  };
}
