#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace nabu::store {

static_assert(std::endian::native == std::endian::little, "formats are little endian as they lie");

inline constexpr uint32_t kBlockBytes = 4096;
inline constexpr uint32_t kMaxShardBytes = 64U << 20;

enum RecordKind : uint8_t {
  kShard = 1,
  kTombstone = 2,
  kOwnerTombstone = 3,
  kOwnerState = 4,
  kDegradedMark = 5,
};

enum ShardFlag : uint16_t { kFlagLog = 1, kFlagCompaction = 2, kFlagDegraded = 4 };

inline constexpr uint32_t kShardMetaMagic = 0x4853424e;  // "NBSH"
inline constexpr uint16_t kShardMetaVersion = 1;
inline constexpr uint32_t kMaxShardsPerStripe = 31;

/** The one descriptor of a shard, on the wire and on disk (docs/formats.md). crcCount CRC32C values
 * follow it. */
struct ShardMeta {
  uint32_t magic;
  uint16_t version;
  uint16_t flags;
  uint8_t key[32];
  uint8_t stripeId[16];
  uint8_t owner[16];
  uint64_t writerGeneration;
  uint64_t writerIncarnation;
  uint64_t sequence;
  uint64_t stamp;
  uint32_t blobLength;
  uint32_t shardLength;
  uint8_t k;
  uint8_t m;
  uint8_t shardIndex;
  uint8_t kind;
  uint32_t crcCount;
  uint64_t homeSetVersion;
  uint64_t mapEpoch;
  uint32_t missingMask;
  uint32_t rangeOffset;
  uint8_t reserved[16];
};
static_assert(sizeof(ShardMeta) == 160);
static_assert(offsetof(ShardMeta, writerGeneration) == 72);
static_assert(offsetof(ShardMeta, blobLength) == 104);
static_assert(offsetof(ShardMeta, homeSetVersion) == 120);
static_assert(offsetof(ShardMeta, rangeOffset) == 140);

}  // namespace nabu::store
