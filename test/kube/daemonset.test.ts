import assert from 'node:assert/strict';
import { z } from 'zod';
import { DEVICE_PLUGIN_PRIVILEGES } from '../../device-plugin/privileges.ts';
import { Chart } from './chart.ts';

const daemonSet = z.object({
  spec: z.object({
    template: z.object({
      spec: z.object({
        hostNetwork: z.boolean(),
        containers: z.tuple([
          z.object({
            securityContext: z.unknown(),
            volumeMounts: z.array(
              z.object({ name: z.string(), mountPath: z.string(), readOnly: z.boolean().default(false) }),
            ),
          }),
        ]),
        volumes: z.array(z.object({ name: z.string(), hostPath: z.object({ path: z.string() }).optional() })),
      }),
    }),
  }),
});

type Mount = { readonly hostPath: string; readonly containerPath: string; readonly access: string };
const byPath = (mounts: readonly Mount[]): readonly Mount[] =>
  [...mounts].sort((a, b) => (a.hostPath < b.hostPath ? -1 : 1));

describe('the DaemonSet of the device plugin', () => {
  let chart: Chart;
  before(async function () {
    chart = await Chart.open(this);
  });

  const rendered = async (devicePlugin: object) => {
    const objects = await chart.render({ devicePlugin });
    const found = objects.find(({ kind, metadata }) => kind === 'DaemonSet' && metadata.name.endsWith('device-plugin'));
    return daemonSet.parse(found).spec.template.spec;
  };

  const mountsOf = async (devicePlugin: object): Promise<readonly Mount[]> => {
    const { containers, volumes } = await rendered(devicePlugin);
    const mounts = containers[0].volumeMounts.map(({ name, mountPath, readOnly }) => {
      const hostPath = volumes.find((volume) => volume.name === name)?.hostPath?.path;
      return { hostPath, containerPath: mountPath, access: readOnly ? 'read' : 'write' };
    });
    return byPath(mounts.filter((mount): mount is Mount => mount.hostPath !== undefined));
  };

  const needed = (needs: readonly string[]): readonly Mount[] =>
    byPath(
      DEVICE_PLUGIN_PRIVILEGES.hostPaths
        .filter(({ neededFor }) => neededFor.some((need) => needs.includes(need)))
        .map(({ hostPath, containerPath, access }) => ({ hostPath, containerPath, access })),
    );

  it('mounts of the node exactly what the plugin is known to need', async () => {
    const always = ['everything', 'cufile', 'hugetlbfs'];
    assert.deepEqual(await mountsOf({}), needed(always));
    assert.deepEqual(await mountsOf({ labels: true }), needed([...always, 'labels']));
    assert.deepEqual(await mountsOf({ labels: true, dra: true }), needed([...always, 'labels', 'claims']));
  });

  it('runs as the user and with the capabilities that it is known to need', async () => {
    const { hostNetwork, containers } = await rendered({});
    assert.equal(hostNetwork, DEVICE_PLUGIN_PRIVILEGES.hostNetwork);
    assert.deepEqual(DEVICE_PLUGIN_PRIVILEGES.capabilities, []);
    assert.deepEqual(containers[0].securityContext, {
      runAsUser: DEVICE_PLUGIN_PRIVILEGES.user,
      allowPrivilegeEscalation: DEVICE_PLUGIN_PRIVILEGES.mayGainPrivileges,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
  });
});
