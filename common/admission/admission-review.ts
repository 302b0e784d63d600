import { z } from 'zod';
import { NabuError } from '../errors/index.ts';
import type { AddOperation } from './json-patch.ts';

/** Kubernetes, admission/v1, AdmissionReview as a webhook gets it; the rest of it is not ours to look at. */
const reviewSchema = z.object({
  apiVersion: z.literal('admission.k8s.io/v1'),
  kind: z.literal('AdmissionReview'),
  request: z.object({
    uid: z.string().min(1).max(128),
    kind: z.object({ group: z.string(), version: z.string(), kind: z.string() }),
    subResource: z.string().optional(),
    namespace: z.string().max(253).optional(),
    operation: z.enum(['CREATE', 'UPDATE', 'DELETE', 'CONNECT']),
    object: z.unknown(),
  }),
});

/** What becomes of a pod that is to be made. */
export type PodReview =
  | { readonly isAllowed: true; readonly patch: readonly AddOperation[]; readonly warnings: readonly string[] }
  /** One sentence, or two: what cannot be, and what to do. */
  | { readonly isAllowed: false; readonly reason: string };

export type ParsedRequest = {
  readonly uid: string;
  /** '' where the API server names none. */
  readonly namespace: string;
  /** The pod as it came: nothing of it was looked at. */
  readonly object: unknown;
  /** For errors: where the object is. */
  readonly field: string;
};

/** Decides about one new pod. May throw INVALID_ARGUMENT for what is no pod. */
export type PodJudge = (request: ParsedRequest) => PodReview;

export type ReviewOutcome = 'untouched' | 'patched' | 'refused';

/** Kubernetes, admission/v1, AdmissionReview as a webhook answers it. */
export type ReviewAnswer = {
  readonly apiVersion: 'admission.k8s.io/v1';
  readonly kind: 'AdmissionReview';
  readonly response: {
    readonly uid: string;
    readonly allowed: boolean;
    readonly patchType?: 'JSONPatch';
    /** Base64 of a JSON Patch. */
    readonly patch?: string;
    readonly warnings?: readonly string[];
    readonly status?: { readonly code: number; readonly reason: string; readonly message: string };
  };
};

/** Throws INVALID_ARGUMENT that names the field which is not as it has to be. */
export function parsedAs<S extends z.ZodType>(schema: S, value: unknown, field: string): z.output<S> {
  const { success, data, error } = schema.safeParse(value);
  if (success) return data;
  const [issue] = error.issues;
  const where = [field, ...(issue?.path ?? [])].map(String).join('.');
  throw NabuError.of('INVALID_ARGUMENT', { field: where.slice(0, 256), reason: issue?.message ?? 'refused' });
}

/** Answers one review. Throws INVALID_ARGUMENT for what is none, naming what is wrong. As pure as the judge. */
export function answerReview(
  body: unknown,
  judge: PodJudge,
): { readonly answer: ReviewAnswer; readonly outcome: ReviewOutcome } {
  const { request } = parsedAs(reviewSchema, body, 'review');
  const { uid, kind, operation, object, namespace = '' } = request;
  const answered = (response: Omit<ReviewAnswer['response'], 'uid'>): ReviewAnswer => {
    return { apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response: { uid, ...response } };
  };
  // What we judge of a pod does not change after it is made: everything else is not ours to look at.
  const isNewPod = kind.group === '' && kind.version === 'v1' && kind.kind === 'Pod' && operation === 'CREATE';
  if (!isNewPod || (request.subResource ?? '') !== '')
    return { answer: answered({ allowed: true }), outcome: 'untouched' };
  const review = judge({ uid, namespace, object, field: 'review.request.object' });
  if (!review.isAllowed) {
    const status = { code: 422, reason: 'Invalid', message: review.reason };
    return { answer: answered({ allowed: false, status }), outcome: 'refused' };
  }
  const { patch, warnings } = review;
  const warned = warnings.length === 0 ? {} : { warnings };
  if (patch.length === 0) return { answer: answered({ allowed: true, ...warned }), outcome: 'untouched' };
  const text = Buffer.from(JSON.stringify(patch)).toString('base64');
  return { answer: answered({ allowed: true, patchType: 'JSONPatch', patch: text, ...warned }), outcome: 'patched' };
}
