import { z } from 'zod';
import { LOAD_BALANCING, LOG_LEVELS } from './key.ts';
import { CUFILE_KEYS } from './keys.ts';
import { valueSchema } from './value.ts';

/** `block.nvme`, `fs.nfs`, ...: what has a peer-to-peer switch of its own, in the order of the file. */
export const P2PDMA_PATHS: readonly string[] = CUFILE_KEYS.flatMap(({ path }) => {
  const [section, name, key] = path.split('.');
  return key === 'use_pci_p2pdma' ? [`${section}.${name}`] : [];
});

const sizeKb = valueSchema({ kind: 'integer', min: 64, step: 4 }).pipe(z.number());

/** The operator's settings of a cuFile resource. Whatever else cuFile has goes into its overrides. */
export const cufileSettingsSchema = z.strictObject({
  loadBalancing: z
    .enum(['auto', ...LOAD_BALANCING])
    .default('auto')
    .describe('Which of the nearest RDMA devices serves a GPU; auto: from the numbers of GPUs and HCAs.'),
  pollMode: z.boolean().default(false).describe('Poll for the end of small I/O.'),
  pollMaxSizeKb: valueSchema({ kind: 'integer', min: 4, step: 4 })
    .pipe(z.number())
    .default(4)
    .describe('Largest I/O that is polled for, in KiB.'),
  pinnedMemoryKb: sizeKb.default(33554432).describe('Most memory of one GPU that one process may pin, in KiB.'),
  deviceCacheKb: sizeKb
    .optional()
    .describe('Bounce buffers of one size, for each GPU, in KiB. Without it: 131072, from cuFile 1.17 on slabs.'),
  fallback: z
    .enum(['refuse', 'allow'])
    .default('refuse')
    .describe('Whether I/O may go through host memory where there is no direct path.'),
  logDir: valueSchema({ kind: 'path' })
    .pipe(z.string())
    .optional()
    .describe('Where cuFile writes its log, as the container sees it. Without it: the working directory.'),
  logLevel: z.enum(LOG_LEVELS).default('ERROR').describe('What cuFile logs.'),
  p2pdmaPaths: z
    .array(z.enum(P2PDMA_PATHS))
    .default(['block.nvme'])
    .describe('What goes by peer-to-peer DMA when that is the mode. Local NVMe needs nothing but the kernel.'),
});

export type CufileSettings = z.output<typeof cufileSettingsSchema>;
