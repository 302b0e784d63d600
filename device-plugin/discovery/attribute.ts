import type { Guid, NumaNode, PciClass, PciId } from './ids.ts';

/** How the text of one kind of file is read: `parse` gives undefined for what is not `expected`. Pure. */
export type Attribute<T> = {
  /** Completes the sentence 'holds "..." where ... is expected'. */
  readonly expected: string;
  parse(text: string): T | undefined;
};

function matched<T>(expected: string, pattern: RegExp, of: (groups: readonly string[]) => T | undefined): Attribute<T> {
  return {
    expected,
    parse: (text) => {
      const match = pattern.exec(text);
      return match === null ? undefined : of(match.slice(1));
    },
  };
}

const safe = (value: number): number | undefined => (Number.isSafeInteger(value) ? value : undefined);

/** A whole number from 0 on, in decimal. */
export const wholeNumber = matched('a whole number', /^(\d{1,16})$/, ([digits]) => safe(Number(digits)));

/** Documentation/ABI/testing/sysfs-bus-pci, numa_node: -1 where the firmware does not say, which becomes null. */
export const numaNode: Attribute<{ readonly node: NumaNode | null }> = matched(
  'a NUMA node or -1',
  /^(-1|\d{1,5})$/,
  ([digits]) => ({ node: digits === '-1' ? null : (Number(digits) as NumaNode) }),
);

/** Documentation/ABI/testing/sysfs-bus-pci and Documentation/PCI/sysfs-pci.rst: vendor, device, subsystem_*: '0x15b3'. */
export const pciId: Attribute<PciId> = matched(
  'a PCI id such as 0x15b3',
  /^0x([0-9a-f]{4})$/i,
  ([digits = '']) => digits.toLowerCase() as PciId,
);

/** Documentation/PCI/sysfs-pci.rst, class: '0x020700'. */
export const pciClass: Attribute<PciClass> = matched(
  'a PCI class such as 0x020000',
  /^0x([0-9a-f]{6})$/i,
  ([digits = '']) => digits.toLowerCase() as PciClass,
);

/** Documentation/ABI/stable/sysfs-class-infiniband, node_guid and sys_image_guid. */
export const guid: Attribute<Guid> = matched(
  'a GUID such as a088:c203:0012:3456',
  /^((?:[0-9a-f]{4}:){3}[0-9a-f]{4})$/i,
  ([digits = '']) => digits.toLowerCase() as Guid,
);

/** One line of at most 256 characters that is not empty: a version, a model, a serial number. */
export const line: Attribute<string> = matched('one line of text', /^[ \t]*([^\n]{0,255}[^\s])$/, ([text]) => text);

/** A boolean module parameter: include/linux/moduleparam.h prints Y or N; p2pmem/published prints 1 or 0. */
export const yesNo: Attribute<boolean> = matched(
  'Y, N, 1 or 0',
  /^([YN10])$/,
  ([letter]) => letter === 'Y' || letter === '1',
);

/** Numbers with blanks between them: node<n>/distance (Documentation/ABI/stable/sysfs-devices-node). */
export const numbers: Attribute<readonly number[]> = matched(
  'numbers with blanks between them',
  /^(\d{1,9}(?: +\d{1,9})*)$/,
  ([text = '']) => text.split(/ +/).map(Number),
);

/** A list of CPUs such as '0-27,56-83' (Documentation/admin-guide/cputopology.rst), '' for a node without any. */
export const cpuList: Attribute<string> = {
  expected: 'a list of CPUs such as 0-27,56',
  parse: (text) => (/^(?:\d{1,6}(?:-\d{1,6})?(?:,\d{1,6}(?:-\d{1,6})?)*)?$/.test(text) ? text : undefined),
};

/** The `name<separator>value` lines of a file, the first of each name; lines of another form are passed over. */
export function fieldsOf(text: string, separator: '=' | ':'): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (const row of text.split('\n')) {
    const at = row.indexOf(separator);
    const name = row.slice(0, Math.max(0, at)).trim();
    if (name !== '' && !fields.has(name)) fields.set(name, row.slice(at + 1).trim());
  }
  return fields;
}
