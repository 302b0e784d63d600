import { isIPv4 } from 'node:net';
import { z } from 'zod';

/** What a key of cufile.json takes: the one source of its schema, of what an error says is allowed, and of the reference. */
export type CufileValue =
  | { readonly kind: 'boolean' }
  | {
      readonly kind: 'integer';
      readonly min: number;
      readonly max?: number;
      readonly step?: number;
      /** One number of the range that is refused. */
      readonly except?: number;
    }
  | { readonly kind: 'choice'; readonly of: readonly string[] }
  | { readonly kind: 'hex32'; readonly isNonZero?: boolean }
  | { readonly kind: 'path' }
  | { readonly kind: 'paths' }
  | { readonly kind: 'names' }
  | { readonly kind: 'addresses' }
  | { readonly kind: 'order'; readonly of: readonly string[] }
  | { readonly kind: 'integers'; readonly min: number; readonly step?: number; readonly ascending?: boolean }
  | { readonly kind: 'mounts' };

/** Lists are bounded: cuFile has far fewer of anything, and a file is read by every process of a pod. */
const LIST_LIMIT = 256;
const TEXT_LIMIT = 4096;
/** What cuFile keeps in 32 bits: the entries of lists, and the keys that say so in the table. */
export const INT32_MAX = 2 ** 31 - 1;

const pathSchema = z
  .string()
  .max(TEXT_LIMIT)
  .regex(/^\/[^\0]*$/);
const addressesSchema = z
  .array(z.string().refine((text) => isIPv4(text)))
  .max(LIST_LIMIT)
  .refine((list) => new Set(list).size === list.length);

function integerSchema(min: number, max = Number.MAX_SAFE_INTEGER, step = 1): z.ZodType {
  return z.int().min(min).max(max).multipleOf(step);
}

export function valueSchema(value: CufileValue): z.ZodType {
  switch (value.kind) {
    case 'boolean':
      return z.boolean();
    case 'integer':
      return integerSchema(value.min, value.max, value.step).refine((item) => item !== value.except);
    case 'choice':
      return z.enum(value.of);
    case 'hex32':
      return z.string().regex(value.isNonZero === true ? /^0[xX](?!0+$)[0-9a-fA-F]{1,8}$/ : /^0[xX][0-9a-fA-F]{1,8}$/);
    case 'path':
      return pathSchema;
    case 'paths':
      return z.array(pathSchema).max(LIST_LIMIT);
    case 'names':
      return z.array(z.string().min(1).max(TEXT_LIMIT)).max(LIST_LIMIT);
    case 'addresses':
      return addressesSchema;
    case 'order':
      return z
        .array(z.enum(value.of))
        .min(1)
        .refine((list) => new Set(list).size === list.length);
    case 'integers': {
      const list = z
        .array(integerSchema(value.min, INT32_MAX, value.step))
        .min(1)
        .max(LIST_LIMIT);
      return value.ascending === true ? list.refine(isAscending) : list;
    }
    case 'mounts':
      return z.record(pathSchema, z.strictObject({ rdma_dev_addr_list: addressesSchema }));
  }
}

function isAscending(list: readonly unknown[]): boolean {
  return list.every((item, at) => at === 0 || Number(item) > Number(list[at - 1]));
}

function integerText(word: string, min: number, max?: number, step?: number): string {
  const range = max === undefined ? ` from ${min}` : ` from ${min} to ${max}`;
  return `${word}${range}${step === undefined ? '' : `, a multiple of ${step}`}`;
}

/** As an error and the reference say it. */
export function valueText(value: CufileValue): string {
  switch (value.kind) {
    case 'boolean':
      return 'true or false';
    case 'integer':
      return `${integerText('an integer', value.min, value.max, value.step)}${
        value.except === undefined ? '' : `, not ${value.except}`
      }`;
    case 'choice':
      return `one of ${value.of.join(', ')}`;
    case 'hex32':
      return `text of a hexadecimal number of 32 bits${value.isNonZero === true ? ', not zero' : ''}, such as 0x1f`;
    case 'path':
      return 'an absolute path';
    case 'paths':
      return 'a list of absolute paths';
    case 'names':
      return 'a list of names';
    case 'addresses':
      return 'a list of IPv4 addresses, each once';
    case 'order':
      return `a list of ${value.of.join(', ')}, each at most once`;
    case 'integers':
      return `a list of integers, each ${integerText('', value.min, INT32_MAX, value.step).trim()}${
        value.ascending === true ? ', ascending' : ''
      }`;
    case 'mounts':
      return 'an object of mount points, each with a rdma_dev_addr_list of IPv4 addresses, each once';
  }
}
