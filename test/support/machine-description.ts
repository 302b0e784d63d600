/** A machine in as few words as will do; machine-layout.ts turns it into the files and links that a kernel would show. */
export type MachineDescription = {
  readonly kernelRelease: string;
  /** Lines of the kernel's configuration, as in /proc/config.gz; without them there is no such file. */
  readonly kernelConfig?: readonly string[];
  readonly kernelSymbols?: readonly string[];
  readonly numaNodes: readonly { readonly cpus: string; readonly distances: string }[];
  readonly hugePages: readonly HugePagesDescription[];
  /** Loaded modules, besides those that the other fields imply. */
  readonly modules?: Readonly<Record<string, ModuleDescription>>;
  readonly nvidiaDriver?: { readonly version: string; readonly isOpen: boolean; readonly registryWords: string };
  readonly nvidiaFs?: {
    readonly version: string;
    readonly moduleVersion: string;
    readonly deviceCount: number;
    readonly storageModules: readonly string[];
  };
  /** Misc devices: rdma_cm, vfio, iommu. */
  readonly misc?: readonly ('rdma_cm' | 'vfio' | 'iommu')[];
  readonly functions: readonly FunctionDescription[];
};

export type ModuleDescription = {
  readonly version?: string;
  readonly parameters?: Readonly<Record<string, string>>;
};

export type HugePagesDescription = {
  readonly sizeKib: number;
  readonly reserved?: number;
  readonly overcommit?: number;
  /** Total and free pages of each NUMA node. */
  readonly perNode: readonly (readonly [number, number])[];
};

export type FunctionDescription = {
  /** Below /sys/devices: root complex, bridges, the function. Bridges are made as they are named. */
  readonly path: string;
  /** Vendor and device, '15b3:1021'. */
  readonly ids: string;
  readonly class: string;
  readonly driver?: string;
  readonly numa?: number;
  readonly iommuGroup?: number;
  readonly hca?: HcaDescription;
  readonly nvme?: NvmeDescription;
  readonly gpu?: { readonly model: string; readonly uuid: string };
  readonly peerMemory?: { readonly size: number; readonly available: number; readonly published: boolean };
  /** The number of the function's own VFIO device file. */
  readonly vfioDevice?: number;
};

export type HcaDescription = {
  readonly name: string;
  readonly guid: string;
  readonly firmware: string;
  readonly boardId: string;
  readonly linkLayer: 'InfiniBand' | 'Ethernet';
  readonly state: string;
  readonly physState: string;
  readonly rate: string;
  readonly netDevice: string;
  readonly netState: string;
};

export type NvmeDescription = {
  readonly model: string;
  readonly serial: string;
  readonly firmware: string;
  /** Of each namespace: its size in bytes. */
  readonly namespaces: readonly number[];
  readonly isMultipath?: boolean;
};
