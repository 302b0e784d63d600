import { z } from 'zod';
import { CUFILE_VERSIONS, cufileSettingsSchema } from '../cufile/index.ts';
import { hcaSelectorSchema, pciSelectorSchema } from './selector.ts';

const KIND_MODES = ['plugin', 'dra'] as const;

/** What follows the dash in nabustore.io/rdma-NAME. */
const name = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/, "1 to 32 lower-case letters, digits and '-'")
  .optional()
  .describe('What follows the dash in the name of the resource. Without it there is no dash.');

const mode = z
  .enum(KIND_MODES)
  .default('plugin')
  .describe('How pods get at it: as an extended resource, or by a claim (DRA). A device is in one mode.');

const slots = z.int().min(1).max(1000).default(1).describe('How many containers share one device; 1: exclusive.');

const deviceFiles = z
  .array(z.enum(['uverbs', 'rdma_cm', 'umad', 'issm']))
  .min(1)
  .default(['uverbs', 'rdma_cm'])
  .describe('Device files of the HCA that a container gets. umad and issm let it manage the subnet.');

const cufile = {
  version: z.enum(CUFILE_VERSIONS).describe('The release of cuFile in the containers.'),
  settings: cufileSettingsSchema.prefault({}).describe('See docs/reference/cufile.md.'),
  overrides: z.record(z.string(), z.unknown()).default({}).describe('A part of a cufile.json, merged over ours.'),
};

/** nabustore.io/rdma[-NAME] */
export const rdmaConfigSchema = z.strictObject({
  kind: z.literal('rdma').describe('Of which kind it is.'),
  name,
  mode,
  select: hcaSelectorSchema.prefault({}).describe('Which HCAs; without a field all of them.'),
  slots,
  deviceFiles,
});

/** nabustore.io/cufile[-NAME] */
export const cufileConfigSchema = z.strictObject({
  kind: z.literal('cufile').describe('Of which kind it is.'),
  name,
  slots: z.int().min(1).max(1000).default(16).describe('How many containers of each NUMA node that has a GPU.'),
  ...cufile,
});

/** nabustore.io/gds[-NAME]: an HCA and cuFile for it as one unit. */
export const gdsConfigSchema = z.strictObject({
  kind: z.literal('gds').describe('Of which kind it is.'),
  name,
  mode,
  select: hcaSelectorSchema.prefault({}).describe('Which HCAs; without a field all of them.'),
  slots,
  deviceFiles,
  ...cufile,
});

/** nabustore.io/hugetlbfs-2Mi, nabustore.io/hugetlbfs-1Gi */
export const hugetlbfsConfigSchema = z.strictObject({
  kind: z.literal('hugetlbfs').describe('Of which kind it is.'),
  pageSize: z.enum(['2Mi', '1Gi']).describe('The size of a page.'),
  unitBytes: z
    .int()
    .min(1 << 21)
    .describe('What one unit may hold, in bytes: a multiple of the page.'),
  mountPath: z
    .string()
    // As CDI takes it: one that is refused there would fail each pod, and not this file.
    .regex(/^(?=.{2,200}$)(\/(?!\.\.?(\/|$))[\w.-]+)+$/, "an absolute path without '.', '..' or an empty name in it")
    .optional()
    .describe('Where the container sees it; without it /dev/hugepages-2Mi or /dev/hugepages-1Gi.'),
});

/** nabustore.io/nvme-vfio[-NAME] */
export const nvmeVfioConfigSchema = z.strictObject({
  kind: z.literal('nvme-vfio').describe('Of which kind it is.'),
  name,
  mode,
  select: pciSelectorSchema.prefault({}).describe('Which functions; without a field all that are bound to vfio-pci.'),
});

export const resourceConfigSchema = z.discriminatedUnion('kind', [
  rdmaConfigSchema,
  cufileConfigSchema,
  gdsConfigSchema,
  hugetlbfsConfigSchema,
  nvmeVfioConfigSchema,
]);

export type RdmaConfig = z.output<typeof rdmaConfigSchema>;
export type CufileConfig = z.output<typeof cufileConfigSchema>;
export type GdsConfig = z.output<typeof gdsConfigSchema>;
export type HugetlbfsConfig = z.output<typeof hugetlbfsConfigSchema>;
export type NvmeVfioConfig = z.output<typeof nvmeVfioConfigSchema>;
export type ResourceConfig = z.output<typeof resourceConfigSchema>;
