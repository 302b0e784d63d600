/** What a path of the host is needed for: whatever is offered, or what an operator has turned on. */
type Need = 'everything' | 'cufile' | 'hugetlbfs' | 'labels' | 'claims';

/** A path of the host that the plugin's container has mounted, and nothing less will do. */
export type HostPathNeed = {
  /** On a node where nothing is moved by an option. */
  readonly hostPath: string;
  /** Where the DaemonSet of the chart mounts it. */
  readonly containerPath: string;
  readonly access: 'read' | 'write';
  readonly neededFor: readonly Need[];
  /** What is not to be had without it. */
  readonly why: string;
};

export type PluginPrivileges = {
  readonly user: number;
  /** Of the effective, permitted, inheritable and bounding sets alike. */
  readonly capabilities: readonly string[];
  readonly mayGainPrivileges: boolean;
  readonly hostNetwork: boolean;
  readonly hostPaths: readonly HostPathNeed[];
};

/**
 * Everything that `nabu device-plugin` needs of a node. test/integration/device-plugin/least-privilege.test.ts runs it with
 * exactly this, and without each of it in turn; the DaemonSet of the chart is compared with it.
 */
export const DEVICE_PLUGIN_PRIVILEGES: PluginPrivileges = {
  user: 0, // the kubelet's folders and sockets are root's, mode 0750
  capabilities: [],
  mayGainPrivileges: false,
  hostNetwork: true, // IPv4 addresses of HCAs for cufile.json; events of their links
  hostPaths: [
    {
      hostPath: '/sys',
      containerPath: '/host/sys',
      access: 'read',
      neededFor: ['everything'],
      why: 'what devices there are, where, and how they are',
    },
    {
      hostPath: '/dev',
      containerPath: '/host/dev',
      access: 'read',
      neededFor: ['everything'],
      why: 'whether device files are there; none is opened',
    },
    {
      hostPath: '/var/lib/kubelet/device-plugins',
      containerPath: '/var/lib/kubelet/device-plugins',
      access: 'write',
      neededFor: ['everything'],
      why: "the kubelet's socket, and ours beside it",
    },
    {
      hostPath: '/var/lib/kubelet/pod-resources',
      containerPath: '/var/lib/kubelet/pod-resources',
      access: 'read',
      neededFor: ['cufile', 'hugetlbfs', 'claims'],
      why: 'which container holds which devices',
    },
    {
      hostPath: '/var/lib/nabustore/device-plugin',
      containerPath: '/var/lib/nabustore/device-plugin',
      access: 'write',
      neededFor: ['cufile', 'claims'],
      why: 'the folders with cufile.json that containers mount; what claims have been given',
    },
    {
      hostPath: '/var/run/cdi',
      containerPath: '/var/run/cdi',
      access: 'write',
      neededFor: ['hugetlbfs', 'claims'],
      why: 'CDI specs of mounts and of claims, which the runtime reads',
    },
    {
      hostPath: '/etc/kubernetes/node-feature-discovery/features.d',
      containerPath: '/etc/kubernetes/node-feature-discovery/features.d',
      access: 'write',
      neededFor: ['labels'],
      why: 'labels of the node for node-feature-discovery',
    },
    {
      hostPath: '/var/lib/kubelet/plugins_registry',
      containerPath: '/var/lib/kubelet/plugins_registry',
      access: 'write',
      neededFor: ['claims'],
      why: 'the socket by which the kubelet finds a driver of claims',
    },
    {
      hostPath: '/var/lib/kubelet/plugins/devices.nabustore.io',
      containerPath: '/var/lib/kubelet/plugins/devices.nabustore.io',
      access: 'write',
      neededFor: ['claims'],
      why: 'the socket by which the kubelet has claims prepared',
    },
  ],
};
