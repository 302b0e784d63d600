import { z } from 'zod';

const hexId = z
  .string()
  .regex(/^[0-9a-f]{4}$/, 'four hexadecimal digits in lower case, such as 15b3')
  .describe('A PCI vendor or device id.');
const pciAddress = z
  .string()
  .regex(/^[0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/, 'a PCI address in lower case, such as 0000:18:00.0');
/** '*' and '?' as in a shell; names of network interfaces have at most 15 characters (IFNAMSIZ). */
const namePattern = z.string().regex(/^[A-Za-z0-9_.*?-]{1,15}$/, "a name of at most 15 characters, with '*' and '?'");

/**
 * Which devices a resource takes. Values of one field are alternatives, fields restrict each other, and a selector without
 * any field takes every device of its kind.
 */
export const pciSelectorSchema = z.strictObject({
  vendors: z.array(hexId).min(1).optional().describe('PCI vendor ids.'),
  devices: z.array(hexId).min(1).optional().describe('PCI device ids.'),
  drivers: z
    .array(z.string().regex(/^[\w-]{1,64}$/))
    .min(1)
    .optional()
    .describe('Kernel drivers.'),
  pciAddresses: z.array(pciAddress).min(1).optional().describe('PCI addresses.'),
  numaNodes: z.array(z.int().min(0).max(1023)).min(1).optional().describe('NUMA nodes.'),
});

export const hcaSelectorSchema = pciSelectorSchema.extend({
  linkLayers: z
    .array(z.enum(['InfiniBand', 'Ethernet']))
    .min(1)
    .optional()
    .describe('Of any port.'),
  linkStates: z
    .array(z.enum(['DOWN', 'INIT', 'ARMED', 'ACTIVE', 'ACTIVE_DEFER']))
    .min(1)
    .default(['ACTIVE'])
    .describe('Port states that count as healthy; a device is never left out for its link, it is unhealthy.'),
  interfaces: z.array(namePattern).min(1).optional().describe('Names of network devices, or of RDMA devices.'),
});

export type PciSelector = z.output<typeof pciSelectorSchema>;
export type HcaSelector = z.output<typeof hcaSelectorSchema>;
