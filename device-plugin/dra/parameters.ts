import { z } from 'zod';
import { protoPath } from '../cufile/index.ts';
import { type AllocatedClaim, appliesTo, claimRefused } from './allocated-claim.ts';

export const PARAMETERS_API_VERSION = 'devices.nabustore.io/v1';

/** What a class or a claim may say to our driver: resource/v1, OpaqueDeviceConfiguration. */
const parametersSchema = z.strictObject({
  apiVersion: z.literal(PARAMETERS_API_VERSION),
  kind: z.literal('CufileParameters'),
  /** A part of a cufile.json, over that of the resource's configuration. */
  overrides: z.record(z.string(), z.unknown()),
});

/** For each result of a claim by its place: parts of a cufile.json in the order in which they go over each other. */
export type ClaimOverrides = readonly (readonly Readonly<Record<string, unknown>>[])[];

/**
 * Pure. The class's parameters before the claim's. Throws CLAIM_REFUSED that names what is not known, where it stands, and
 * what there is: parameters that nobody reads would be a promise that nobody keeps.
 */
export function claimOverrides(claim: AllocatedClaim, isGds: (result: number) => boolean): ClaimOverrides {
  const parsed = claim.configs.map((config) => {
    const where = config.source === 'FromClass' ? 'its device class' : 'the claim';
    const result = parametersSchema.safeParse(config.parameters);
    const unnameable = protoPath(config.parameters);
    if (result.success && unnameable === undefined) return { config, overrides: result.data.overrides, where };
    const issue = result.error?.issues[0];
    const what = [...(issue?.path ?? unnameable ?? [])].join('.') || 'the parameters';
    const known = `known is ${PARAMETERS_API_VERSION} CufileParameters with overrides`;
    throw claimRefused(claim.id, `parameters in ${where}: ${what}: ${issue?.message ?? 'refused'}; ${known}`);
  });
  const inOrder = [
    ...parsed.filter(({ config }) => config.source === 'FromClass'),
    ...parsed.filter(({ config }) => config.source !== 'FromClass'),
  ];
  return claim.results.map(({ request }, at) => {
    const own = inOrder.filter(({ config }) => appliesTo(config, request));
    const [first] = own;
    // Parameters for all requests may be meant for others of the claim.
    if (first !== undefined && !isGds(at) && first.config.requests.length > 0) {
      throw claimRefused(
        claim.id,
        `parameters in ${first.where}: request ${request} has no cufile.json: it is not of kind gds`,
      );
    }
    return isGds(at) ? own.map(({ overrides }) => overrides) : [];
  });
}
