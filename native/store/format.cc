#include "store/format.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "ec/crc32c.h"

namespace nabu::store {
namespace {

// CRC of the bytes with the four at `field` taken as zero.
uint32_t checksumWithout(const void* bytes, size_t length, size_t field, uint64_t salt) {
  const auto* at = static_cast<const uint8_t*>(bytes);
  const uint32_t zero = 0;
  uint32_t crc = ec::crc32c(&salt, sizeof salt);
  crc = ec::crc32c(at, field, crc);
  crc = ec::crc32c(&zero, sizeof zero, crc);
  return ec::crc32c(at + field + 4, length - field - 4, crc);
}

}  // namespace

Fingerprint fingerprint(const uint8_t* key, uint64_t salt) {
  const XXH128_hash_t hash = XXH3_128bits_withSeed(key, 32, salt);
  return {hash.high64, hash.low64};
}

uint32_t checksum(const void* bytes, size_t length, uint64_t salt) {
  return ec::crc32c(bytes, length, ec::crc32c(&salt, sizeof salt));
}

void sealSuperblock(Superblock& block) {
  block.crc = checksumWithout(&block, sizeof block, offsetof(Superblock, crc), 0);
}

SuperblockVerdict judgeSuperblock(const Superblock& block) {
  if (block.magic != kSuperblockMagic) {
    return allZero(&block, sizeof block) ? SuperblockVerdict::kBlank : SuperblockVerdict::kForeign;
  }
  const uint32_t crc = checksumWithout(&block, sizeof block, offsetof(Superblock, crc), 0);
  if (crc != block.crc) return SuperblockVerdict::kDamaged;
  if (block.version != kFormatVersion || block.featuresIncompatible != 0) {
    return SuperblockVerdict::kUnknownVersion;
  }
  return SuperblockVerdict::kGood;
}

void sealSegmentHeader(SegmentHeader& header, uint64_t salt) {
  header.crc = checksumWithout(&header, sizeof header, offsetof(SegmentHeader, crc), salt);
}

bool goodSegmentHeader(const SegmentHeader& header, const Superblock& super, uint32_t segment) {
  return header.magic == kSegmentMagic && header.version == kFormatVersion &&
         header.segment == segment && std::memcmp(header.deviceId, super.deviceId, 16) == 0 &&
         header.use >= kUseFree && header.use <= kUseCheckpoint &&
         header.crc ==
             checksumWithout(&header, sizeof header, offsetof(SegmentHeader, crc), super.salt);
}

void sealRecord(RecordHeader& header, uint64_t salt) {
  header.crc =
      checksumWithout(&header, recordHeaderLength(header), offsetof(RecordHeader, crc), salt);
}

bool plausibleRecord(const RecordHeader& header, const Superblock& super, uint32_t segment,
                     uint64_t generation, uint32_t block) {
  if (header.magic != kRecordMagic || header.version != kRecordVersion) return false;
  if (generation != 0 && header.generation != generation) return false;
  if (header.segment != segment || header.block != block) return false;
  if (std::memcmp(header.deviceId, super.deviceId, 16) != 0) return false;
  if (header.bodyLength > 4 * (kMaxShardBytes / kBlockBytes)) return false;
  if (header.headerBlocks != headerBlocksFor(header.bodyLength)) return false;
  const ShardMeta& meta = header.meta;
  if (meta.kind == kShard) {
    return header.bodyLength == 4 * meta.crcCount &&
           meta.crcCount == meta.shardLength / kBlockBytes && meta.shardLength % kBlockBytes == 0;
  }
  return header.bodyLength <= kMaxBodyInBlock;
}

bool goodRecord(const RecordHeader& header, uint64_t salt) {
  return header.crc ==
         checksumWithout(&header, recordHeaderLength(header), offsetof(RecordHeader, crc), salt);
}

const char* flawOf(const ShardMeta& meta) {
  if (meta.magic != kShardMetaMagic) return "magic";
  if (meta.version != kShardMetaVersion) return "version";
  if ((meta.flags & ~(kFlagLog | kFlagCompaction | kFlagDegraded)) != 0) return "flags";
  if (meta.kind != kShard) return "kind";
  if (meta.k < 1 || meta.k + meta.m > static_cast<int>(kMaxShardsPerStripe)) return "k";
  if (meta.shardIndex >= meta.k + meta.m) return "shardIndex";
  if (meta.shardLength == 0 || meta.shardLength % kBlockBytes != 0) return "shardLength";
  if (meta.shardLength > kMaxShardBytes) return "shardLength";
  if (meta.crcCount != meta.shardLength / kBlockBytes) return "crcCount";
  if (meta.blobLength > kMaxShardBytes) return "blobLength";
  if (meta.rangeOffset != 0) return "rangeOffset";
  if (meta.sequence >> 48 != 0) return "sequence";
  return nullptr;
}

bool allZero(const void* bytes, size_t length) {
  const auto* at = static_cast<const uint8_t*>(bytes);
  return length == 0 || (at[0] == 0 && std::memcmp(at, at + 1, length - 1) == 0);
}

}  // namespace nabu::store
