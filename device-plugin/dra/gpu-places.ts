import { z } from 'zod';
import type { Deadline } from '../../common/concurrency/index.ts';
import type { KubeClient } from '../kube-api/index.ts';
import type { AllocationResult } from './allocated-claim.ts';
import { ATTRIBUTES } from './driver-name.ts';
import { RESOURCE_API_PATH } from './resource-api.ts';

const listSchema = z.looseObject({
  items: z.array(
    z.looseObject({
      spec: z.looseObject({
        pool: z.looseObject({ name: z.string() }),
        devices: z
          .array(
            z.looseObject({
              name: z.string(),
              attributes: z.record(z.string(), z.looseObject({ string: z.string().optional() })).optional(),
            }),
          )
          .nullish(),
      }),
    }),
  ),
});

/** A device of another driver as a claim has it, and where it is. */
export type PlacedDevice = {
  readonly result: AllocationResult;
  /** As its driver published it, in lower case; undefined where it did not. */
  readonly pciAddress: string | undefined;
};

/**
 * Where devices of other drivers are, by the standard attribute of their ResourceSlices on this node: the one thing that two
 * drivers say alike. Throws what the API server's client throws.
 */
export async function placesOf(
  results: readonly AllocationResult[],
  nodeName: string,
  client: KubeClient,
  deadline: Deadline,
): Promise<readonly PlacedDevice[]> {
  const addresses = new Map<string, string>();
  for (const driver of new Set(results.map((result) => result.driver))) {
    const query = { fieldSelector: `spec.nodeName=${nodeName},spec.driver=${driver}` };
    const list = await client.call({ method: 'GET', path: `${RESOURCE_API_PATH}/resourceslices`, query, deadline });
    for (const { spec } of listSchema.parse(list).items) {
      for (const { name, attributes } of spec.devices ?? []) {
        const address = attributes?.[ATTRIBUTES.pciBusId]?.string;
        if (address !== undefined) addresses.set(`${driver}/${spec.pool.name}/${name}`, address.toLowerCase());
      }
    }
  }
  return results.map((result) => ({
    result,
    pciAddress: addresses.get(`${result.driver}/${result.pool}/${result.device}`),
  }));
}
