import { NabuError } from '../../common/errors/index.ts';
import { type Policy, parsePolicy, rawBytes, usableBytes } from '../blob/index.ts';
import type { ClusterMap } from '../placement/index.ts';
import type { VolumeSpec } from './volume-record.ts';

/**
 * Of each hundred raw bytes this many can be promised to volumes. The rest is room for repair, for deletes (tombstones are
 * writes too) and for the garbage that a log keeps until it is cleaned.
 */
const PROMISED_PERCENT = 90n;

export type Capacity = {
  /** The largest further thick volume. */
  readonly availableBytes: bigint;
  readonly rawBytes: bigint;
  readonly reservedBytes: bigint;
  /** The largest volume on an empty cluster. */
  readonly maxVolumeBytes: bigint;
};

function rawCapacity(map: ClusterMap): bigint {
  return map.nodes.reduce((sum, node) => (node.state === 'out' ? sum : sum + BigInt(node.capacityBytes ?? 0)), 0n);
}

/** Raw bytes that the volume may come to take: its size with parity or copies. A thin one reserves nothing. */
function reservationOf(spec: Pick<VolumeSpec, 'policy' | 'sizeBytes' | 'provisioning'>): bigint {
  return spec.provisioning === 'thin' ? 0n : rawBytes(parsePolicy(spec.policy), spec.sizeBytes);
}

/**
 * How much of the cluster is promised. One running sum, so that a create costs the same with ten volumes and with a million;
 * rebuilt from the records when control starts.
 */
export class CapacityLedger {
  #reserved = 0n;

  /** Counts a volume that exists already, whether or not it fits. */
  count(spec: Pick<VolumeSpec, 'policy' | 'sizeBytes' | 'provisioning'>): void {
    this.#reserved += reservationOf(spec);
  }

  /** The opposite of `count` and `reserve`. */
  release(spec: Pick<VolumeSpec, 'policy' | 'sizeBytes' | 'provisioning'>): void {
    this.#reserved -= reservationOf(spec);
  }

  /** Reserves at once, before anything is awaited, so that concurrent requests cannot promise the same bytes. NO_SPACE. */
  reserve(map: ClusterMap, spec: Pick<VolumeSpec, 'policy' | 'sizeBytes' | 'provisioning'>): void {
    const promised = (rawCapacity(map) * PROMISED_PERCENT) / 100n;
    const needed = reservationOf(spec);
    // A thin volume promises nothing, but one that could never be filled is a mistake.
    const wanted = spec.provisioning === 'thin' ? rawBytes(parsePolicy(spec.policy), spec.sizeBytes) : needed;
    const free = spec.provisioning === 'thin' ? promised : promised - this.#reserved;
    if (wanted > free) throw NabuError.of('NO_SPACE', { needBytes: wanted, freeBytes: free > 0n ? free : 0n });
    this.#reserved += needed;
  }

  capacity(map: ClusterMap, policy: Policy): Capacity {
    const raw = rawCapacity(map);
    const promised = (raw * PROMISED_PERCENT) / 100n;
    const free = promised > this.#reserved ? promised - this.#reserved : 0n;
    return {
      availableBytes: wholeBlocks(usableBytes(policy, free)),
      rawBytes: raw,
      reservedBytes: this.#reserved,
      maxVolumeBytes: wholeBlocks(usableBytes(policy, promised)),
    };
  }
}

function wholeBlocks(bytes: bigint): bigint {
  return bytes - (bytes % 4096n);
}
