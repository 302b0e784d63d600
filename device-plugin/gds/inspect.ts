import { stat } from 'node:fs/promises';
import { NabuError } from '../../common/errors/index.ts';
import { type DiscoveryOptions, type DiscoveryRoots, discover, discoverProcess } from '../discovery/index.ts';
import { type GdsReport, gdsReport } from './report.ts';

/**
 * Looks at the machine below the roots, and at what this process sees of it. Throws INVALID_ARGUMENT for a root that is no folder,
 * and when the signal ends it.
 */
export async function inspectGds(roots: DiscoveryRoots, options: DiscoveryOptions): Promise<GdsReport> {
  for (const [field, root] of Object.entries(roots)) await checkFolder(field, root);
  return gdsReport(await discover(roots, options), await discoverProcess(roots, options));
}

/** An empty machine and a wrong path would look alike. */
async function checkFolder(field: string, root: string): Promise<void> {
  const found = await stat(root).catch(() => undefined);
  if (found?.isDirectory() !== true)
    throw NabuError.of('INVALID_ARGUMENT', { field, reason: `${root} is not a folder` });
}
