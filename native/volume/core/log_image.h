#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "volume/core/types.h"

namespace nabu::volume {

enum class ImageKind : std::uint8_t { kLog = 1, kCheckpoint = 2, kClean = 3 };

enum class EntryKind : std::uint8_t {
  kWrite = 1,      // block, count: payload
  kTrim = 2,       // block, count: no payload
  kCopyIfAt = 3,   // block, count, old: payload; each block only if the map still has it at old + i
  kMapPage = 4,    // block = index of the page, level: one payload block
  kUsagePage = 5,  // the same for the usage tree
  kRoot = 6,       // one payload block, the last one
};

struct Entry {
  EntryKind kind = EntryKind::kWrite;
  std::uint8_t level = 0;
  std::uint32_t count = 0;  // blocks; trims may be long
  std::uint64_t block = 0;
  Location old = 0;
  std::uint32_t payload = 0;  // block of the image where the payload begins, 0 for trims

  bool hasPayload() const { return kind != EntryKind::kTrim; }
  bool operator==(const Entry&) const = default;
};

/** Where an image stands in the history of its volume; opaque to the core but for sequence. */
struct Position {
  std::uint64_t generation = 0;
  std::uint64_t incarnation = 0;
  std::uint64_t sequence = 0;
  std::uint64_t previousGeneration = 0;
  std::uint64_t previousIncarnation = 0;
  std::uint64_t checkpointSequence = 0;
};

struct ImageHeader {
  ImageKind kind = ImageKind::kLog;
  bool hasRoot = false;
  VolumeId volumeId{};
  Position position;
  std::uint64_t volumeBytes = 0;
  std::uint64_t checkpointId =
      0;  // of a checkpoint image: the sequence of its checkpoint's first image
  // Of a log image: the write ring it was made from, and the first record of it that neither this
  // image nor an earlier one holds whole. Tells a new server what of the ring is durable already.
  std::uint64_t ringId = 0;
  std::uint64_t ringEnd = 0;
  std::uint32_t entryCount = 0;
  std::uint32_t headerBlocks = 0;
  std::uint32_t payloadBlocks = 0;

  std::size_t imageBytes() const {
    return (std::size_t{headerBlocks} + payloadBlocks) * kBlockBytes;
  }
};

struct ParsedImage {
  ImageHeader header;
  std::vector<Entry> entries;
};

/**
 * Log image, version 1, little endian, in blocks of 4 KiB: header (128 bytes), entries (32 bytes
 * each), zeros to the end of the block, payload. The CRC32C in the header covers header, entries
 * and the zeros; payload is covered by the checksums of the shards that carry it.
 *
 *   0 u32 magic   4 u16 version   6 u8 kind   7 u8 flags (1 root)   8 volume id[16]
 *  24 u64 generation  32 u64 incarnation  40 u64 sequence  48 u64 previous generation  56 u64
 * previous incarnation 64 u64 checkpoint sequence  72 u64 volume bytes  80 u64 checkpoint id 88 u32
 * entries  92 u32 header blocks  96 u32 payload blocks  100 u32 zero
 * 104 u64 ring id  112 u64 ring end  120 u32 zero  124 u32 crc32c (of it all
 * with this as 0) entry: 0 u8 kind  1 u8 level  2 u16 zero  4 u32 count  8 u64 block  16 u64 old 24
 * u32 payload  28 u32 zero
 */
inline constexpr std::size_t kImageHeaderBytes = 128;
inline constexpr std::size_t kImageEntryBytes = 32;
constexpr std::uint32_t imageHeaderBlocks(std::size_t entries) {
  return static_cast<std::uint32_t>(
      (kImageHeaderBytes + entries * kImageEntryBytes + kBlockBytes - 1) / kBlockBytes);
}

/** Checks everything that a later step relies on; any input is allowed. */
Result<ParsedImage> parseImage(std::span<const std::byte> image);
/** The same for the blocks of header and entries alone; the payload is elsewhere. */
Result<ParsedImage> parseImageHeader(std::span<const std::byte> header);

/** Writes header and entries before the payload; image has header.headerBlocks blocks. */
void writeImageHeader(const ImageHeader& header, std::span<const Entry> entries, std::byte* image);

/** Header and entries without the zeros behind them. */
inline std::vector<std::byte> headerCopy(std::span<const std::byte> image, std::size_t entries) {
  const auto used = image.first(kImageHeaderBytes + entries * kImageEntryBytes);
  return {used.begin(), used.end()};
}
/** Bytes of header, entries and zeros, as the header says: at least kImageHeaderBytes of it are
 * given. */
std::size_t imageHeaderLength(std::span<const std::byte> header);

/**
 * Root record of a checkpoint, the payload of the entry kRoot.
 *   0 u32 magic  4 u32 version  8 volume id[16]  24 u64 covered sequence  32 u64 checkpoint id  40
 * u64 volume bytes 48 u64 map root  56 u64 usage root  64 u8 map levels  65 u8 usage
 * levels  66..4091 zero  4092 u32 crc32c of 0..4091
 */
struct RootRecord {
  VolumeId volumeId{};
  std::uint64_t coveredSequence = 0;
  std::uint64_t checkpointId = 0;
  std::uint64_t volumeBytes = 0;
  Location mapRoot = 0;
  Location usageRoot = 0;
  std::uint8_t mapLevels = 0;
  std::uint8_t usageLevels = 0;
};
void writeRoot(const RootRecord& root, std::byte* block);
Result<RootRecord> parseRoot(const std::byte* block);

}  // namespace nabu::volume
