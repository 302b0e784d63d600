#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "ec/coder.h"

namespace nabu::ec {

using StripeHash = std::array<uint8_t, 16>;

/**
 * Name of what a stripe holds and how it is cut: XXH3-128 of the 32 bytes
 *   canonical XXH3-128 of the blob's bytes (16), k (u32), m (u32), blob length (u64), all but the
 * first little endian, itself in canonical (big-endian) form. It tells apart different bytes under
 * one key by accident, not by an adversary: XXH3 is no cryptographic hash.
 */
StripeHash stripeHash(const void* blob, size_t blobLength, int dataShards, int parityShards);

/** Bytes of one shard of a blob: ceil(blobLength / k) rounded up to whole 4 KiB blocks, at least
 * one. */
size_t shardLengthOf(size_t blobLength, int dataShards);

/**
 * Everything that a put needs to know of a stripe, in two walks over its data.
 *
 * @param stripe k + m shards of shardLength bytes one after the other: the blob's bytes and zeros
 * up to k * shardLength are given, the parity shards are written.
 * @param shardLength A multiple of 4096.
 * @param crcs Out: CRC32C of every 4 KiB block, shard after shard, (k + m) * shardLength / 4096 of
 * them.
 */
StripeHash encodeStripe(const Coder& coder, uint8_t* stripe, size_t shardLength, size_t blobLength,
                        uint32_t* crcs);

}  // namespace nabu::ec
