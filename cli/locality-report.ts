import { NabuError } from '../common/errors/index.ts';
import { parseQuantity } from './quantity.ts';

/** As the resource LocalityReport has it (charts/nabustore/crds). */
export type ReportContent = {
  readonly kind: 'Model' | 'KVCache';
  readonly id: string;
  readonly names?: readonly string[];
  readonly sizeBytes: number;
  readonly cachedBytes: number;
  readonly stored?: boolean;
};
/** Units of a resource on a NUMA node. */
export type ReportDevices = {
  readonly resource: string;
  readonly numaNode: number;
  readonly total: number;
  readonly free: number;
};
export type ReportSpec = {
  readonly reportedAt: string;
  readonly validSeconds: number;
  readonly linkLoadPercent?: number;
  readonly contents: readonly ReportContent[];
  readonly devices?: readonly ReportDevices[];
};

const CONTENT = /^([^=\s]+)=([^/\s]+)(?:\/([^/\s]+))?$/;

/**
 * 'ID[,NAME...]=CACHED[/SIZE]', sizes as in Kubernetes: 'llama-70b=140G', 'sha256-abc,llama=70G/140G'. Without a size all of it is
 * there. Throws INVALID_ARGUMENT.
 */
export function parseContent(kind: ReportContent['kind'], text: string, isStored: boolean): ReportContent {
  const field = kind === 'Model' ? 'model' : 'kv-cache';
  const [, called = '', cached = '', size = cached] = CONTENT.exec(text) ?? [];
  const [id = '', ...names] = called.split(',');
  if (id === '')
    throw NabuError.of('INVALID_ARGUMENT', { field, reason: `${JSON.stringify(text)} is not ID=CACHED/SIZE` });
  const sizeBytes = parseQuantity(field, size);
  const cachedBytes = cached === '0' ? 0 : parseQuantity(field, cached);
  const named = names.length === 0 ? {} : { names };
  return { kind, id, ...named, sizeBytes, cachedBytes, ...(isStored ? { stored: true } : {}) };
}
