import { type Attribute, line, wholeNumber } from './attribute.ts';
import { byName, eachInTurn, type Survey } from './survey.ts';

/** nvidia-fs, the kernel module of GPUDirect Storage. */
export type NvidiaFs = {
  readonly isLoaded: boolean;
  /** As the library checks it, '2.25'. */
  readonly interfaceVersion: string | null;
  /** Of the module, '2.25.7'. */
  readonly moduleVersion: string | null;
  /** How many character devices the module says it made. */
  readonly deviceCount: number | null;
  /** The character devices /dev/nvidia-fs<n> that are there. */
  readonly devices: readonly string[];
  /** The storage modules that it has hooks into, by name, with their versions. */
  readonly storageModules: readonly { readonly name: string; readonly version: string }[];
};

/** /proc/driver/nvidia-fs/version: 'version: 2.25' (gds-nvidia-fs, nvfs-proc.c). */
export const interfaceVersion: Attribute<string> = {
  expected: 'a line such as version: 2.25',
  parse: (text) => /^version: (\d{1,5}\.\d{1,5})$/.exec(text)?.[1],
};

/** /proc/driver/nvidia-fs/modules: a line 'nvme: 1.0' for each module with hooks; empty without any. */
export const storageModules: Attribute<NvidiaFs['storageModules']> = {
  expected: 'lines such as nvme: 1.0',
  parse(text) {
    const rows = text === '' ? [] : text.split('\n').map((row) => /^(\S{1,64}): *(.{0,128})$/.exec(row.trim()));
    const modules = rows.map((row) => (row === null ? undefined : { name: row[1] ?? '', version: row[2] ?? '' }));
    const whole = modules.filter((module) => module !== undefined);
    return whole.length === modules.length ? whole.sort((a, b) => byName(a.name, b.name)) : undefined;
  },
};

const NOT_LOADED: NvidiaFs = {
  isLoaded: false,
  interfaceVersion: null,
  moduleVersion: null,
  deviceCount: null,
  devices: [],
  storageModules: [],
};

/** Loaded is what /sys/module/nvidia_fs says (Documentation/ABI/stable/sysfs-module). */
export async function discoverNvidiaFs(survey: Survey): Promise<NvidiaFs> {
  const { sys, proc } = survey;
  if ((await survey.target(sys, 'module/nvidia_fs')) === null) return NOT_LOADED;
  const at = 'driver/nvidia-fs';
  return {
    isLoaded: true,
    interfaceVersion: await survey.value(proc, `${at}/version`, interfaceVersion),
    moduleVersion: await survey.value(sys, 'module/nvidia_fs/version', line, 'normal'),
    deviceCount: await survey.value(proc, `${at}/devcount`, wholeNumber),
    devices: await devicesOf(survey),
    storageModules: (await survey.value(proc, `${at}/modules`, storageModules)) ?? [],
  };
}

async function devicesOf(survey: Survey): Promise<readonly string[]> {
  const { dev } = survey;
  const names = await survey.names(dev, '', /^nvidia-fs\d*$/);
  return await eachInTurn([...names].sort(byName), async (name): Promise<string | null> => {
    const entry = survey.taken(dev, name, await dev.entry(name), 'finding');
    if (entry === null) return null;
    if (survey.isCharDevice(entry)) return `/dev/${name}`;
    survey.note(dev, name, 'is not a character device');
    return null;
  });
}
