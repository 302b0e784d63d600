import { NabuError } from '../../common/errors/index.ts';
import { refuseInvalidPart } from '../cufile/index.ts';
import { hugetlbfsPath, PAGE_BYTES } from './huge-page-mount.ts';
import type { PluginConfig } from './plugin-config.ts';
import { keyPath } from './problem.ts';
import type { ResourceConfig } from './resource-config.ts';
import { resourceNameOf } from './resource-names.ts';

/** What each key may hold by itself and the whole may not. Undefined: nothing. Pure. */
export function contradictionIn({ health, resources }: PluginConfig): string | undefined {
  if (health.maxRecoverMs < health.recoverMs) {
    return `health.maxRecoverMs is ${health.maxRecoverMs}; allowed: at least health.recoverMs, ${health.recoverMs}`;
  }
  for (const [at, resource] of resources.entries()) {
    const problem = doubled(resources, at) ?? wrongByItself(resource, ['resources', at]);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function doubled(resources: readonly ResourceConfig[], at: number): string | undefined {
  const resource = resources[at];
  if (resource === undefined) return undefined;
  const name = resourceNameOf(resource);
  const before = resources.slice(0, at);
  const same = before.findIndex((other) => resourceNameOf(other) === name);
  if (same >= 0) return `resources[${at}] is ${name}, as resources[${same}] is; allowed: each name once`;
  if (resource.kind !== 'hugetlbfs') return undefined;
  const path = hugetlbfsPath(resource);
  const mounted = before.findIndex((other) => other.kind === 'hugetlbfs' && hugetlbfsPath(other) === path);
  if (mounted < 0) return undefined;
  return `resources[${at}].mountPath is ${path}, as that of resources[${mounted}] is; allowed: each path once`;
}

function wrongByItself(resource: ResourceConfig, path: readonly PropertyKey[]): string | undefined {
  if (resource.kind === 'hugetlbfs') {
    const { pageSize, unitBytes } = resource;
    if (unitBytes % PAGE_BYTES[pageSize] === 0) return undefined;
    return `${keyPath([...path, 'unitBytes'])} is ${unitBytes}; allowed: a multiple of the page, ${PAGE_BYTES[pageSize]}`;
  }
  if (resource.kind !== 'cufile' && resource.kind !== 'gds') return undefined;
  try {
    refuseInvalidPart(resource.overrides, resource.version);
    return undefined;
  } catch (err) {
    if (!NabuError.is(err)) throw err;
    return `${keyPath([...path, 'overrides'])}: ${err.message}`;
  }
}
