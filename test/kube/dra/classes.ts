import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { KubeCluster } from '../cluster/index.ts';

const FILES = join(import.meta.dirname, '../../../charts/nabustore/files');

/** Device classes of the chart, as `kubectl apply` takes them without Helm. */
export async function applyClasses(cluster: KubeCluster, ...files: readonly string[]): Promise<void> {
  for (const file of files) {
    await cluster.kubectl(['apply', '-f', '-'], { input: await readFile(join(FILES, file), 'utf8') });
  }
}

export async function deleteClasses(cluster: KubeCluster, ...files: readonly string[]): Promise<void> {
  for (const file of files) await cluster.kubectl(['delete', '--ignore-not-found', '-f', join(FILES, file)]);
}
