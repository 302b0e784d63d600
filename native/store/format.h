#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>

#include "store/include/shard_meta.h"

// What lies on a device (docs/formats.md, docs/decisions/). All little endian, all 4 KiB aligned:
//   block 0                superblock
//   kSecondSuperblock      its second copy
//   kDataStart             segments of equal size
// A data segment: two copies of its header, records, footer at its end once it is sealed.

namespace nabu::store {

using Id16 = std::array<uint8_t, 16>;
using Key = std::array<uint8_t, 32>;

inline constexpr uint64_t kSecondSuperblock = 512U << 10;
inline constexpr uint64_t kDataStart = 1U << 20;
inline constexpr uint32_t kSegmentHeaderBlocks = 2;
inline constexpr uint64_t kMinSegmentBytes = 64U << 10;
inline constexpr uint64_t kMaxSegmentBytes = 1ULL << 30;
inline constexpr uint32_t kMinSegments = 6;
inline constexpr uint32_t kMaxCheckpointSegments = 768;

inline constexpr uint64_t kSuperblockMagic = 0x4b4c425355424e00;  // "\0NBUSBLK"
inline constexpr uint32_t kSegmentMagic = 0x4753424e;             // "NBSG"
inline constexpr uint32_t kRecordMagic = 0x4352424e;              // "NBRC"
inline constexpr uint32_t kFooterMagic = 0x5446424e;              // "NBFT"
inline constexpr uint32_t kChunkMagic = 0x4b43424e;               // "NBCK"
inline constexpr uint32_t kFormatVersion = 1;
inline constexpr uint32_t kRecordVersion = 1;

struct Superblock {
  uint64_t magic;
  uint32_t version;
  uint32_t crc;                   // of the 4096 bytes with this field zero
  uint64_t featuresIncompatible;  // any unknown bit: refused
  uint64_t featuresCompatible;    // unknown bits are harmless
  uint64_t revision;              // the higher of two good copies counts
  uint8_t clusterId[16];
  uint8_t deviceId[16];
  char nodeId[64];
  uint64_t incarnation;
  uint64_t createdStamp;
  uint64_t completeSince;
  uint64_t salt;  // seeds record checksums and key fingerprints; never leaves the device
  uint64_t deviceBytes;
  uint64_t segmentBytes;
  uint32_t segmentCount;
  uint32_t segmentsCreated;  // the first so many have been written once
  uint8_t fencesComplete;
  uint8_t clean;  // shut down cleanly: the checkpoint has everything
  uint8_t reserved[6];
  uint64_t checkpointId;  // 0: none
  uint64_t checkpointSequence;
  uint32_t checkpointChunks;
  uint32_t checkpointSegmentCount;
  uint32_t checkpointSegments[kMaxCheckpointSegments];
  uint8_t tail[4096 - 224 - 4 * kMaxCheckpointSegments];
};
static_assert(sizeof(Superblock) == kBlockBytes);

enum SegmentUse : uint8_t { kUseFree = 1, kUseRecords = 2, kUseCheckpoint = 3 };

struct SegmentHeader {
  uint32_t magic;
  uint32_t version;
  uint32_t crc;  // of the 4096 bytes with this field zero, seeded with the device's salt
  uint32_t segment;
  uint8_t deviceId[16];
  uint64_t generation;     // unique and growing over the whole device
  uint64_t firstSequence;  // no record in it has a lower sequence
  uint64_t checkpointId;
  uint8_t use;
  uint8_t tail[4096 - 57];
};
static_assert(sizeof(SegmentHeader) == kBlockBytes);

struct RecordHeader {
  uint32_t magic;
  uint16_t version;
  uint16_t headerBlocks;
  uint64_t generation;  // of the segment
  uint8_t deviceId[16];
  uint64_t recordSequence;  // grows by one with each record of the device
  uint64_t durableUpTo;     // all records below had ended when this one was written
  uint32_t segment;
  uint32_t block;  // of this header within the segment: a record knows where it lies
  uint32_t
      bodyLength;  // bytes behind the ShardMeta: checksums of a shard, else the kind's own body
  uint32_t crc;    // of header, meta and body with this field zero, seeded with the salt
  ShardMeta meta;
};
static_assert(sizeof(RecordHeader) == 224);
inline constexpr uint32_t kMaxBodyInBlock = kBlockBytes - sizeof(RecordHeader);

/** Body of kind 4; the note follows. */
struct OwnerStateBody {
  uint64_t fenceGeneration;
  uint64_t fenceIncarnation;
  uint64_t homeSetVersion;
  uint64_t noteVersion;
  uint32_t noteLength;
  uint32_t reserved;
};
inline constexpr uint32_t kMaxNoteBytes = 3072;

/** Body of kind 3; pinCount pairs of u64 (from, to) follow. */
struct OwnerRangeBody {
  uint64_t generation;
  uint64_t incarnation;
  uint64_t fromSequence;
  uint64_t toSequence;
  uint8_t hasGeneration;
  uint8_t hasIncarnation;
  uint16_t pinCount;
  uint32_t reserved;
};
inline constexpr uint32_t kMaxPins = 128;

/** What replay needs of a record without reading it. */
struct FooterEntry {
  uint64_t recordSequence;
  uint64_t hash;  // fingerprint of the key
  uint64_t tag;
  uint8_t stripeId[16];
  uint8_t owner[16];
  uint64_t writerGeneration;
  uint64_t writerIncarnation;
  uint64_t sequence;
  uint64_t stamp;
  uint32_t block;  // within the segment
  uint32_t blobLength;
  uint32_t shardLength;
  uint32_t missingMask;
  uint16_t flags;
  uint8_t k;
  uint8_t m;
  uint8_t shardIndex;
  uint8_t kind;
  uint8_t damaged;  // header good, payload not
  uint8_t reserved[17];
};
static_assert(sizeof(FooterEntry) == 128);

/** Last 64 bytes of a sealed segment; the entries lie in the whole blocks before it. */
struct FooterTrailer {
  uint32_t magic;
  uint32_t version;
  uint64_t generation;
  uint8_t deviceId[16];
  uint32_t segment;
  uint32_t entryCount;
  uint64_t nextSequence;  // the first sequence that is not of this segment
  uint32_t entriesCrc;
  uint32_t crc;  // of the trailer with this field zero, both seeded with the salt
  uint8_t reserved[8];
};
static_assert(sizeof(FooterTrailer) == 64);

constexpr uint32_t footerBlocks(uint64_t entries) {
  return static_cast<uint32_t>(
      (entries * sizeof(FooterEntry) + sizeof(FooterTrailer) + kBlockBytes - 1) / kBlockBytes);
}

enum SectionKind : uint32_t {
  kSectionIndex = 1,
  kSectionSegments = 2,
  kSectionEpochSlots = 3,
  kSectionOwners = 4,
  kSectionOwnerRules = 5,
  kSectionDegraded = 6,
  kSectionEnd = 7,
};

/** Head of each piece of a checkpoint, 64 bytes, followed by `length` bytes. */
struct ChunkHeader {
  uint32_t magic;
  uint32_t version;
  uint64_t checkpointId;
  uint8_t deviceId[16];
  uint32_t number;
  uint32_t section;
  uint32_t count;  // elements in it
  uint32_t length;
  uint32_t bodyCrc;
  uint32_t crc;
  uint8_t reserved[8];
};
static_assert(sizeof(ChunkHeader) == 64);
/** Element of kSectionSegments. */
struct CheckpointSegment {
  uint64_t generation;
  uint64_t firstSequence;
  uint32_t state;  // SegmentState
  uint32_t used;
};
static_assert(sizeof(CheckpointSegment) == 24);
inline constexpr uint32_t kChunkBytes =
    256U << 10;  // each chunk takes this much, or what the segment has

/** Two 64-bit halves of a keyed hash of the key: what the index compares. The record has the whole
 * key. */
struct Fingerprint {
  uint64_t hash;
  uint64_t tag;
  bool operator==(const Fingerprint&) const = default;
};
Fingerprint fingerprint(const uint8_t* key, uint64_t salt);

uint32_t checksum(const void* bytes, size_t length, uint64_t salt);

void sealSuperblock(Superblock& block);
enum class SuperblockVerdict { kGood, kBlank, kForeign, kDamaged, kUnknownVersion };
SuperblockVerdict judgeSuperblock(const Superblock& block);

void sealSegmentHeader(SegmentHeader& header, uint64_t salt);
bool goodSegmentHeader(const SegmentHeader& header, const Superblock& super, uint32_t segment);

/** Bytes of header, meta and body. */
inline uint32_t recordHeaderLength(const RecordHeader& header) {
  return static_cast<uint32_t>(sizeof(RecordHeader)) + header.bodyLength;
}
/** Of a shard's payload, one for each block of 4 KiB. */
inline const uint32_t* checksumsOf(const RecordHeader& header) {
  return reinterpret_cast<const uint32_t*>(&header + 1);
}
inline uint32_t headerBlocksFor(uint32_t bodyLength) {
  return (static_cast<uint32_t>(sizeof(RecordHeader)) + bodyLength + kBlockBytes - 1) / kBlockBytes;
}
inline uint32_t payloadBlocks(const ShardMeta& meta) {
  return meta.kind == kShard ? meta.shardLength / kBlockBytes : 0;
}
/** Header at `header` with headerBlocks * 4 KiB behind it. */
void sealRecord(RecordHeader& header, uint64_t salt);
/**
 * The first 4 KiB tell whether this may be the start of a record of that place and generation (0:
 * any) and how many blocks its header has; goodRecord then checks all of it.
 */
bool plausibleRecord(const RecordHeader& header, const Superblock& super, uint32_t segment,
                     uint64_t generation, uint32_t block);
bool goodRecord(const RecordHeader& header, uint64_t salt);
/** Empty, or the field of a shard descriptor that is wrong. */
const char* flawOf(const ShardMeta& meta);

bool allZero(const void* bytes, size_t length);

}  // namespace nabu::store
