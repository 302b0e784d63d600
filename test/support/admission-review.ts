import type { TestPod } from './pod.ts';

/** A review as the API server of Kubernetes 1.36 sends it for a pod that is to be made. */
export function reviewOf(object: TestPod | unknown, request: Readonly<Record<string, unknown>> = {}): object {
  const pods = { group: '', version: 'v1', resource: 'pods' };
  const kind = { group: '', version: 'v1', kind: 'Pod' };
  return {
    kind: 'AdmissionReview',
    apiVersion: 'admission.k8s.io/v1',
    request: {
      uid: 'f3c1f9a3-6a52-4f19-a1f8-0f6b4a7f5c11',
      kind,
      resource: pods,
      requestKind: kind,
      requestResource: pods,
      namespace: 'ai',
      operation: 'CREATE',
      userInfo: { username: 'kubernetes-admin', groups: ['system:masters', 'system:authenticated'] },
      object,
      oldObject: null,
      dryRun: false,
      options: { kind: 'CreateOptions', apiVersion: 'meta.k8s.io/v1' },
      ...request,
    },
  };
}
