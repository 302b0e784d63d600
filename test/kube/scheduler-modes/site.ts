import { readFile } from 'node:fs/promises';
import { CustomObjectsApi, type KubeConfig } from '@kubernetes/client-node';
import { parse } from 'yaml';
import { makeNode, untilPodsCanBeMade } from '../scheduler/cluster-objects.ts';
import { StubProvisioner } from '../scheduler/stub-provisioner.ts';

const GIB = 2 ** 30;
const GB = 1e9;
const CAPACITY_BYTES = 64 * GIB;
const PUBLISH_MS = 200;
/** Longer than anybody tries something. */
const VALID_S = 3600;

export const NAMESPACE = 'default';
export const ZONES = ['a', 'b'] as const;
const RACKS = [1, 2, 3] as const;
const IN_RACK = [1, 2] as const;
/** The one node that has the model. */
export const MODEL_NODE = 'gpu-a2-1';
export const MODEL_BYTES = 140 * GB;

/** What the guide is tried on: twelve nodes in six racks and two zones, one with a model in its cache, and a provisioner for claims. */
export class Site {
  readonly provisioner: StubProvisioner;

  private constructor(provisioner: StubProvisioner) {
    this.provisioner = provisioner;
  }

  static readonly nodes: readonly string[] = ZONES.flatMap((zone) =>
    RACKS.flatMap((rack) => IN_RACK.map((at) => `gpu-${zone}${rack}-${at}`)),
  );

  static async make(config: KubeConfig): Promise<Site> {
    await untilPodsCanBeMade(config, NAMESPACE);
    for (const name of Site.nodes) {
      const zone = name.slice(4, 5);
      await makeNode(config, name, { zone, rack: name.slice(4, 6), cpu: '64' });
    }
    await reportModel(config, MODEL_NODE);
    const stub = {
      namespace: NAMESPACE,
      className: 'nabustore-4-2',
      capacityBytes: CAPACITY_BYTES,
      publishMs: PUBLISH_MS,
    };
    const provisioner = new StubProvisioner({ config, ...stub });
    await provisioner.start();
    return new Site(provisioner);
  }

  async stop(): Promise<void> {
    await this.provisioner.stop();
  }
}

/** docs/examples/scheduler-configuration.yaml */
export async function exampleConfiguration(): Promise<unknown> {
  const file = new URL('../../../docs/examples/scheduler-configuration.yaml', import.meta.url);
  return parse(await readFile(file, 'utf8'));
}

/** As an agent of the node would. Needs the chart's CRD. */
async function reportModel(config: KubeConfig, node: string): Promise<void> {
  const contents = [{ kind: 'Model', id: 'llama-70b', sizeBytes: MODEL_BYTES, cachedBytes: MODEL_BYTES, stored: true }];
  const spec = { reportedAt: new Date().toISOString(), validSeconds: VALID_S, linkLoadPercent: 10, contents };
  await config.makeApiClient(CustomObjectsApi).createClusterCustomObject({
    group: 'nabustore.io',
    version: 'v1alpha1',
    plural: 'localityreports',
    body: { apiVersion: 'nabustore.io/v1alpha1', kind: 'LocalityReport', metadata: { name: node }, spec },
  });
}
