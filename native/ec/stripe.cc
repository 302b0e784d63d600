#include "ec/stripe.h"

#include <algorithm>
#include <cstring>

#include "ec/crc32c.h"
#include "ec/xxh3.h"

namespace nabu::ec {
namespace {

void storeLittleEndian(uint8_t* to, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) to[i] = static_cast<uint8_t>(value >> (8 * i));
}

}  // namespace

StripeHash stripeHash(const void* blob, size_t blobLength, int dataShards, int parityShards) {
  std::array<uint8_t, 32> record{};
  const StripeHash bytes = xxh3Hash128(blob, blobLength);
  std::copy(bytes.begin(), bytes.end(), record.begin());
  storeLittleEndian(record.data() + 16, static_cast<uint64_t>(dataShards), 4);
  storeLittleEndian(record.data() + 20, static_cast<uint64_t>(parityShards), 4);
  storeLittleEndian(record.data() + 24, blobLength, 8);
  return xxh3Hash128(record.data(), record.size());
}

size_t shardLengthOf(size_t blobLength, int dataShards) {
  const auto k = static_cast<size_t>(dataShards);
  const size_t bytes = blobLength / k + (blobLength % k != 0 ? 1 : 0);
  const size_t blocks = (bytes + kBlockBytes - 1) / kBlockBytes;
  return std::max<size_t>(blocks, 1) * kBlockBytes;
}

StripeHash encodeStripe(const Coder& coder, uint8_t* stripe, size_t shardLength, size_t blobLength,
                        uint32_t* crcs) {
  const int k = coder.dataShards();
  const int m = coder.parityShards();
  const size_t blocks = shardLength / kBlockBytes;
  const uint8_t* data[kMaxDataShards];
  uint8_t* parity[kMaxParityShards];
  // A column of 4 KiB of every shard stays in L1 or L2 between being coded and being summed.
  for (size_t block = 0; block < blocks; ++block) {
    uint8_t* const column = stripe + block * kBlockBytes;
    const auto crcOf = [&](int shard) -> uint32_t& {
      return crcs[static_cast<size_t>(shard) * blocks + block];
    };
    for (int c = 0; c < k; ++c) data[c] = column + static_cast<size_t>(c) * shardLength;
    for (int r = 0; r < m; ++r) parity[r] = column + static_cast<size_t>(k + r) * shardLength;
    if (m > 0) coder.encodeStrip(data, parity, kBlockBytes);
    // Parity 0 is the XOR of the data and CRCs are linear: its CRC follows, and tells if the coding
    // itself went wrong.
    uint32_t sum = k % 2 == 0 ? kZeroBlockCrc32c : 0;
    for (int c = 0; c < k; ++c) sum ^= crcOf(c) = crc32c(data[c], kBlockBytes);
    if (m > 0) crcOf(k) = sum;
    for (int r = 1; r < m; ++r) crcOf(k + r) = k == 1 ? sum : crc32c(parity[r], kBlockBytes);
  }
  return stripeHash(stripe, blobLength, k, m);
}

}  // namespace nabu::ec
