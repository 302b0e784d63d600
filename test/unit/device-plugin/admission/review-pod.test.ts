import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { PodReview } from '../../../../common/admission/index.ts';
import type { HugetlbfsUnit } from '../../../../device-plugin/admission/huge-pages.ts';
import { podSchema } from '../../../../device-plugin/admission/pod-view.ts';
import { wholeQuantity } from '../../../../device-plugin/admission/quantity.ts';
import { reviewPod } from '../../../../device-plugin/admission/review-pod.ts';
import { container, patched, pod, type TestContainer, type TestPod } from '../../../support/pod.ts';

const MOUNT = 'nabustore.io/hugetlbfs-2Mi';
const UNITS: readonly HugetlbfsUnit[] = [
  { pageSize: '2Mi', unitBytes: 64 << 20, mountPath: '/dev/hugepages-2Mi' },
  { pageSize: '1Gi', unitBytes: 1 << 30, mountPath: '/dev/hugepages-1Gi' },
];

const review = (given: unknown, units = UNITS): PodReview => reviewPod(podSchema.parse(given), units);

function reasonOf(given: TestPod): string {
  const found = review(given);
  assert(!found.isAllowed, 'it was allowed');
  return found.reason;
}

function afterwards(given: TestPod): unknown {
  const found = review(given);
  assert(found.isAllowed, found.isAllowed ? '' : found.reason);
  return patched(given, found.patch);
}

const main = (limits: Record<string, string>, fields: Partial<TestContainer> = {}): TestContainer =>
  container('main', { cpu: '1', ...limits }, fields);

describe('a new pod', () => {
  it('gets the huge pages that its mounts hold, as request and limit', () => {
    assert.deepEqual(
      afterwards(pod([main({ [MOUNT]: '2' })])),
      pod([main({ [MOUNT]: '2', 'hugepages-2Mi': '128Mi' })]),
    );
  });

  it('gets them in init containers and sidecars too, each for itself', () => {
    const sidecar = container(
      'proxy',
      { memory: '1Gi', 'nabustore.io/hugetlbfs-1Gi': '1' },
      { restartPolicy: 'Always' },
    );
    const init = container('warm', { cpu: '1', [MOUNT]: '1' });
    const after = podSchema.parse(afterwards(pod([main({})], { initContainers: [init, sidecar] })));
    assert.deepEqual(
      after.spec.initContainers?.map(({ resources }) => resources?.limits),
      [
        { cpu: '1', [MOUNT]: '1', 'hugepages-2Mi': '64Mi' },
        { memory: '1Gi', 'nabustore.io/hugetlbfs-1Gi': '1', 'hugepages-1Gi': '1Gi' },
      ],
    );
  });

  it('gets them where only a limit was written', () => {
    const given = pod([main({}, { resources: { limits: { [MOUNT]: '1' } } })]);
    const after = podSchema.parse(afterwards(given));
    assert.deepEqual(after.spec.containers[0]?.resources, {
      limits: { [MOUNT]: '1', 'hugepages-2Mi': '64Mi' },
      requests: { 'hugepages-2Mi': '64Mi' },
    });
  });

  it('keeps what it asks for itself, when that is enough', () => {
    const given = pod([main({ [MOUNT]: '1', 'hugepages-2Mi': '1Gi', 'hugepages-1Gi': '1Gi' })]);
    assert.deepEqual(afterwards(given), given);
  });

  it('keeps pages that it asks for as a whole', () => {
    const limits = { cpu: '4', 'hugepages-2Mi': '128Mi' };
    const resources = { limits, requests: limits };
    const two = [main({ [MOUNT]: '1' }), container('other', { [MOUNT]: '1' })];
    assert.deepEqual(afterwards(pod(two, { resources })), pod(two, { resources }));
    assert.equal(
      reasonOf(pod([...two, container('third', { [MOUNT]: '1' })], { resources })),
      'the pod as a whole asks for hugepages-2Mi: 128Mi, and its containers need 192Mi with what their ' +
        'nabustore.io/hugetlbfs-2Mi holds. Ask for hugepages-2Mi in each of these containers, or for more in the pod',
    );
  });

  it('counts containers that run one after the other once', () => {
    const limits = { cpu: '4', 'hugepages-2Mi': '64Mi' };
    const given = pod([main({ [MOUNT]: '1' })], {
      resources: { limits, requests: limits },
      initContainers: [container('warm', { [MOUNT]: '1' }), container('check', { [MOUNT]: '1' })],
    });
    assert.deepEqual(afterwards(given), given);
  });

  it('is refused with fewer pages than its mounts hold, with what to write', () => {
    assert.equal(
      reasonOf(pod([main({ [MOUNT]: '2', 'hugepages-2Mi': '64Mi' })])),
      'container main asks for 2 of nabustore.io/hugetlbfs-2Mi, which hold 128Mi, and only for hugepages-2Mi: 64Mi. ' +
        'Ask for hugepages-2Mi: 128Mi or more, or leave hugepages-2Mi out and it is added',
    );
  });

  it('is refused with pages of another size alone', () => {
    assert.equal(
      reasonOf(pod([main({ [MOUNT]: '1', 'hugepages-1Gi': '1Gi' })])),
      'container main asks for nabustore.io/hugetlbfs-2Mi and for pages of another size, hugepages-1Gi. ' +
        'If both are meant, ask for hugepages-2Mi: 64Mi too',
    );
  });

  it('is refused when it mounts something else where its hugetlbfs goes', () => {
    const volumeMounts = [{ name: 'scratch', mountPath: '/dev/hugepages-2Mi/' }];
    assert.equal(
      reasonOf(pod([main({ [MOUNT]: '1' }, { volumeMounts })])),
      'container main mounts the volume scratch at /dev/hugepages-2Mi, where its nabustore.io/hugetlbfs-2Mi is mounted',
    );
  });

  it('is refused when a container would get two cufile.json', () => {
    assert.equal(
      reasonOf(pod([main({ 'nabustore.io/cufile': '1', 'nabustore.io/gds-fast': '1', 'nvidia.com/gpu': '1' })])),
      'container main asks for nabustore.io/cufile and nabustore.io/gds-fast. Each brings a cufile.json, and a container reads one',
    );
  });

  it('is refused when it asks for a size of pages that is not configured', () => {
    assert.equal(
      reasonOf(pod([main({ 'nabustore.io/hugetlbfs-16Gi': '1' })])),
      'container main asks for nabustore.io/hugetlbfs-16Gi, which no node has: configured are ' +
        'nabustore.io/hugetlbfs-2Mi, nabustore.io/hugetlbfs-1Gi',
    );
  });

  it('is refused when a volume of huge pages would no longer know its size', () => {
    const volumes = [{ name: 'pages', emptyDir: { medium: 'HugePages' } }];
    const one = container('old', { memory: '1Gi', 'hugepages-1Gi': '1Gi' });
    assert.equal(
      reasonOf(pod([one, main({ [MOUNT]: '1' })], { volumes })),
      'the volume pages has the medium HugePages, and the pod uses pages of 1Gi and 2Mi. Name the medium: ' +
        'HugePages-1Gi or HugePages-2Mi',
    );
    assert(review(pod([main({ [MOUNT]: '1' })], { volumes })).isAllowed);
  });

  it('is refused when an ephemeral container asks for what it cannot get', () => {
    assert.equal(
      reasonOf(pod([main({})], { ephemeralContainers: [container('debug', { 'nabustore.io/rdma': '1' })] })),
      'ephemeral container debug asks for nabustore.io/rdma: such containers get no resources',
    );
  });

  it('is warned of what may be meant and seldom is', () => {
    const warned = (given: TestPod): readonly string[] => {
      const found = review(given);
      return found.isAllowed ? found.warnings : [];
    };
    const privileged = { securityContext: { privileged: true } };
    assert.match(
      warned(pod([main({ 'nabustore.io/cufile': '1' })]))[0] ?? '',
      /^container main: .* only beside a GPU$/,
    );
    assert.match(warned(pod([main({ 'nabustore.io/rdma': '1' }, privileged)]))[0] ?? '', /need no privilege$/);
    assert.match(warned(pod([container('main', { [MOUNT]: '1' })]))[0] ?? '', /wants a request for cpu or memory too$/);
    assert.deepEqual(warned(pod([main({ 'nabustore.io/cufile': '1', 'nvidia.com/gpu': '8' })])), []);
    for (const given of [pod([main({ 'nabustore.io/cufile': '1' }, privileged)])]) {
      for (const warning of warned(given)) assert(warning.length <= 256);
    }
  });
});

/** Amounts that pods ask for, sensible and not. */
const amount = fc.oneof(
  fc.integer({ min: 0, max: 8 }).map(String),
  fc.constantFrom('64Mi', '1Gi', '2Gi', '500m', 'x', '-1', ''),
);
const ours = fc.constantFrom(
  MOUNT,
  'nabustore.io/hugetlbfs-1Gi',
  'nabustore.io/hugetlbfs-4Ki',
  'nabustore.io/rdma',
  'nabustore.io/cufile',
  'nabustore.io/gds-a',
);
const others = fc.constantFrom(
  'cpu',
  'memory',
  'hugepages-2Mi',
  'hugepages-1Gi',
  'nvidia.com/gpu',
  'example.com/nabustore.io',
);
const resources = (names: fc.Arbitrary<string>): fc.Arbitrary<TestContainer['resources']> =>
  fc
    .record(
      { limits: fc.dictionary(names, amount, { maxKeys: 5 }), requests: fc.dictionary(names, amount, { maxKeys: 5 }) },
      { requiredKeys: [] },
    )
    .map(({ limits, requests }) => ({ ...(limits && { limits }), ...(requests && { requests }) }));
const containerOf = (names: fc.Arbitrary<string>): fc.Arbitrary<TestContainer> =>
  fc
    .record({
      name: fc.string({ maxLength: 20 }),
      resources: resources(names),
      sidecar: fc.boolean(),
      privileged: fc.boolean(),
    })
    .map(({ sidecar, privileged, ...rest }) => {
      const more = { image: 'x', securityContext: { privileged }, ...(sidecar && { restartPolicy: 'Always' }) };
      return { ...rest, ...more } as TestContainer;
    });
const podOf = (names: fc.Arbitrary<string>): fc.Arbitrary<TestPod> =>
  fc
    .record({
      containers: fc.array(containerOf(names), { minLength: 1, maxLength: 3 }),
      initContainers: fc.array(containerOf(names), { maxLength: 2 }),
      whole: fc.option(resources(fc.constantFrom('cpu', 'hugepages-2Mi')), { nil: undefined }),
    })
    .map(({ containers, initContainers, whole }) =>
      pod(containers, { initContainers, ...(whole && { resources: whole }) }),
    );

describe('any new pod', () => {
  it('comes through a second time as it came out of the first', () => {
    fc.assert(
      fc.property(podOf(fc.oneof(ours, others)), (given) => {
        const first = review(given);
        if (!first.isAllowed) return;
        const second = review(patched(given, first.patch));
        assert(second.isAllowed, second.isAllowed ? '' : second.reason);
        assert.deepEqual(second.patch, []);
      }),
      { numRuns: 2000 },
    );
  });

  it('that asks for nothing of ours is never touched, refused or warned', () => {
    fc.assert(
      fc.property(podOf(others), (given) => {
        assert.deepEqual(review(given), { isAllowed: true, patch: [], warnings: [] });
      }),
      { numRuns: 1000 },
    );
  });

  it('that is allowed has in each container at least the pages that its mounts hold, and nothing else is changed', () => {
    const bytes = (amounts: Readonly<Record<string, string | number>> | null | undefined, name: string): bigint =>
      wholeQuantity(amounts?.[name] ?? 0) ?? 0n;
    fc.assert(
      fc.property(podOf(fc.oneof(ours, others)), (given) => {
        const found = review(given);
        if (!found.isAllowed) return;
        for (const { path } of found.patch) {
          assert.match(
            path,
            /^\/spec\/(initContainers|containers)\/\d\/resources\/(limits|requests)(\/hugepages-(2Mi|1Gi))?$/,
          );
        }
        const after = podSchema.parse(patched(given, found.patch));
        const whole = after.spec.resources;
        for (const { resources: has } of [...after.spec.containers, ...(after.spec.initContainers ?? [])]) {
          for (const { pageSize, unitBytes } of UNITS) {
            const mount = `nabustore.io/hugetlbfs-${pageSize}`;
            const units = bytes(has?.limits?.[mount] === undefined ? has?.requests : has.limits, mount);
            const name = `hugepages-${pageSize}`;
            const asked =
              has?.limits?.[name] ?? has?.requests?.[name] ?? whole?.limits?.[name] ?? whole?.requests?.[name];
            if (wholeQuantity(asked ?? 0) === undefined) continue; // the API server refuses it
            assert((wholeQuantity(asked ?? 0) ?? 0n) >= units * BigInt(unitBytes));
          }
        }
      }),
      { numRuns: 2000 },
    );
  });
});
