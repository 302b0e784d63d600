import { type DiscoveryOptions, type DiscoveryRoots, discover, discoverProcess } from '../discovery/index.ts';
import { type GdsReport, gdsReport } from './report.ts';

/** Looks at the machine below the roots, and at what this process sees of it. Throws only when the signal ends it. */
export async function inspectGds(roots: DiscoveryRoots, options: DiscoveryOptions): Promise<GdsReport> {
  return gdsReport(await discover(roots, options), await discoverProcess(roots, options));
}
