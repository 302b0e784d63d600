import { isObject, valueAt } from './tree.ts';

/** What is wrong with one place of a file. */
export type CufileProblem = { readonly path: string; readonly given: unknown; readonly allowed: string };

/** Keys for bounce buffers of one size; from 1.17 on there are slabs instead, and cuFile takes one form or the other. */
export const UNIFORM_BUFFER_KEYS = [
  'properties.max_device_cache_size_kb',
  'properties.per_buffer_cache_size_kb',
  'properties.max_direct_io_size_kb',
] as const;
export const SLAB_CONFIG = 'properties.gpu_bounce_buffer_slab_config';

function numberAt(file: unknown, path: string, fallback: number): number {
  const value = valueAt(file, path);
  return typeof value === 'number' ? value : fallback;
}

function lengthAt(file: unknown, path: string): number {
  const value = valueAt(file, path);
  return Array.isArray(value) ? value.length : 0;
}

function pairProblem(file: unknown, sizes: string, counts: string): CufileProblem | undefined {
  const wanted = lengthAt(file, sizes);
  if (lengthAt(file, counts) === wanted) return undefined;
  return { path: counts, given: valueAt(file, counts), allowed: `as many entries as ${sizes}, which has ${wanted}` };
}

function slabProblem(file: unknown): CufileProblem | undefined {
  if (valueAt(file, SLAB_CONFIG) === undefined) return undefined;
  const uniform = UNIFORM_BUFFER_KEYS.find((path) => valueAt(file, path) !== undefined);
  if (uniform !== undefined) {
    return { path: uniform, given: valueAt(file, uniform), allowed: `nothing beside ${SLAB_CONFIG}` };
  }
  return pairProblem(file, `${SLAB_CONFIG}.slab_size_kb`, `${SLAB_CONFIG}.slab_count`);
}

/** cuFile itself would take other sizes than written, with a line in its log. */
function uniformProblem(file: unknown): CufileProblem | undefined {
  if (UNIFORM_BUFFER_KEYS.every((path) => valueAt(file, path) === undefined)) return undefined;
  const [cachePath, bufferPath, directPath] = UNIFORM_BUFFER_KEYS;
  const cacheKb = numberAt(file, cachePath, 131072);
  const bufferKb = numberAt(file, bufferPath, 1024);
  const directKb = numberAt(file, directPath, 16384);
  const batch = numberAt(file, 'properties.io_batchsize', 128);
  const pinnedKb = numberAt(file, 'properties.max_device_pinned_mem_size_kb', 33554432);
  if (bufferKb > directKb) {
    return { path: bufferPath, given: bufferKb, allowed: `at most ${directPath}, which is ${directKb}` };
  }
  if (cacheKb > pinnedKb) {
    return {
      path: cachePath,
      given: cacheKb,
      allowed: `at most properties.max_device_pinned_mem_size_kb, which is ${pinnedKb}`,
    };
  }
  if (cacheKb < bufferKb * batch) {
    const allowed = `at least ${bufferKb * batch}: ${bufferPath} times properties.io_batchsize, ${bufferKb} times ${batch}`;
    return { path: cachePath, given: cacheKb, allowed };
  }
  return undefined;
}

function mountProblem(file: unknown): CufileProblem | undefined {
  const sections = valueAt(file, 'fs');
  for (const name of isObject(sections) ? Object.keys(sections) : []) {
    const path = `fs.${name}.mount_table`;
    const mounts = valueAt(file, path);
    if (isObject(mounts) && Object.keys(mounts).length > 0 && lengthAt(file, `fs.${name}.rdma_dev_addr_list`) > 0) {
      return { path, given: Object.keys(mounts), allowed: `nothing beside fs.${name}.rdma_dev_addr_list` };
    }
  }
  return undefined;
}

function hasAddresses(file: unknown): boolean {
  const lists = addressLists(file);
  return lists.some(({ addresses }) => addresses.length > 0);
}

/** Every rdma_dev_addr_list of a file, those of mount tables too. */
export function addressLists(file: unknown): { readonly path: string; readonly addresses: readonly unknown[] }[] {
  const found: { path: string; addresses: readonly unknown[] }[] = [];
  const visit = (node: unknown, path: string): void => {
    if (!isObject(node)) return;
    for (const [name, value] of Object.entries(node)) {
      const at = path === '' ? name : `${path}.${name}`;
      if (name === 'rdma_dev_addr_list' && Array.isArray(value)) found.push({ path: at, addresses: value });
      else visit(value, at);
    }
  };
  visit(file, '');
  return found;
}

/** The first way in which keys that are each in range do not agree, from NVIDIA's configuration guide. */
export function relationProblem(file: unknown): CufileProblem | undefined {
  if (valueAt(file, 'properties.rdma_dynamic_routing') === true && !hasAddresses(file)) {
    return {
      path: 'properties.rdma_dynamic_routing',
      given: true,
      allowed: 'true with addresses in an rdma_dev_addr_list alone: without them there is nothing to route to',
    };
  }
  return (
    slabProblem(file) ??
    uniformProblem(file) ??
    pairProblem(file, 'properties.posix_pool_slab_size_kb', 'properties.posix_pool_slab_count') ??
    mountProblem(file)
  );
}
