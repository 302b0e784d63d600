import { z } from 'zod';
import { NabuError } from '../../common/errors/index.ts';

export type BadAnswer = { readonly operation: string; readonly status: number; readonly text: string };

/** meta/v1, Status. */
const statusSchema = z.looseObject({ message: z.string().optional(), reason: z.string().optional() });

function messageOf({ status, text }: BadAnswer): string {
  try {
    return statusSchema.parse(JSON.parse(text)).message ?? `status ${status}`;
  } catch {
    return `status ${status}`; // a proxy's page says no more
  }
}

/** What an answer that is no success means to us. Pure. */
export function answerError(answer: BadAnswer): NabuError {
  const { operation, status } = answer;
  const reason = messageOf(answer);
  if (status === 404) return NabuError.of('KUBE_NOT_FOUND', { operation, reason });
  if (status === 409) return NabuError.of('RESOURCE_CONFLICT', { kind: 'object', id: operation, reason });
  if (status === 401 || status === 403) return NabuError.of('PERMISSION_DENIED', { operation, reason });
  // 429: asked too often. 408, 5xx: it fails, or whoever stands before it.
  if (status === 408 || status === 429 || status >= 500) {
    return NabuError.of('UNAVAILABLE', { target: 'the API server', reason: `${operation}: ${reason}` });
  }
  return NabuError.of('KUBE_REFUSED', { operation, reason, status });
}
