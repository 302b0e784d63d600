#pragma once

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "store/format.h"

namespace nabu::store {

enum class SegmentState : uint8_t {
  kUncreated,  // never written
  kFree,       // may be taken
  kPreparing,  // being zeroed or given its header
  kReady,      // has its header, no record yet
  kOpen,       // takes records
  kSealing,    // full, its last records and its footer are on their way
  kSealed,
  kFreed,  // nothing live, but a checkpoint may still name it
  kCheckpoint,
};

/** Who may take a free segment when few are left: each class leaves some to the ones behind it. */
enum class SpaceClass : uint8_t { kUser, kSystem, kCompaction, kCheckpoint };

struct Segment {
  SegmentState state = SegmentState::kUncreated;
  uint64_t generation = 0;
  uint64_t firstSequence = 0;
  uint64_t liveBytes = 0;
  uint64_t freedAt = 0;  // the checkpoint that must follow: its id is greater
  uint32_t used = 0;     // blocks, headers included
  uint32_t pending = 0;  // records in flight
  uint32_t readers = 0;
  bool stuck = false;                       // holds a record that cannot be copied: never compacted
  SpaceClass takenFor = SpaceClass::kUser;  // others of that rank or more may write to it
  std::vector<FooterEntry> entries;         // until sealed
};

/** Where segments lie, and what is in them. */
class SegmentTable {
 public:
  void reset(uint32_t count, uint64_t segmentBytes) {
    segments_.assign(count, {});
    counts_ = {};
    counts_[static_cast<size_t>(SegmentState::kUncreated)] = count;
    segmentBytes_ = segmentBytes;
    segmentBlocks_ = static_cast<uint32_t>(segmentBytes / kBlockBytes);
  }
  uint32_t count() const { return static_cast<uint32_t>(segments_.size()); }
  uint64_t segmentBytes() const { return segmentBytes_; }
  uint32_t segmentBlocks() const { return segmentBlocks_; }
  Segment& operator[](uint32_t index) { return segments_[index]; }
  const Segment& operator[](uint32_t index) const { return segments_[index]; }
  /** Payload room of a segment that is full of large records. */
  uint64_t usableBytes() const {
    return static_cast<uint64_t>(segmentBlocks_ - kSegmentHeaderBlocks - 1) * kBlockBytes;
  }
  /** First block on the device. */
  uint64_t start(uint32_t index) const {
    return kDataStart / kBlockBytes + static_cast<uint64_t>(index) * segmentBlocks_;
  }
  uint64_t startByte(uint32_t index) const { return start(index) * kBlockBytes; }
  uint32_t of(uint64_t block) const {
    return static_cast<uint32_t>((block - kDataStart / kBlockBytes) / segmentBlocks_);
  }
  /** A record of so many blocks fits behind `used` with the footer it then needs. */
  bool fits(const Segment& segment, uint32_t blocks) const {
    return segment.used + blocks + footerBlocks(segment.entries.size() + 1) <= segmentBlocks_;
  }
  uint32_t largestRecord() const { return segmentBlocks_ - kSegmentHeaderBlocks - footerBlocks(1); }
  void setState(uint32_t index, SegmentState state) {
    --counts_[static_cast<size_t>(segments_[index].state)];
    ++counts_[static_cast<size_t>(state)];
    segments_[index].state = state;
  }
  uint32_t countOf(SegmentState state) const { return counts_[static_cast<size_t>(state)]; }
  void addLive(uint64_t block, uint64_t bytes) { segments_[of(block)].liveBytes += bytes; }
  void dropLive(uint64_t block, uint64_t bytes) {
    const uint32_t index = of(block);
    segments_[index].liveBytes -= bytes;
    if (segments_[index].liveBytes == 0) emptied_.push_back(index);
  }
  /** Segments whose live bytes came to zero since the last call, perhaps not for good. */
  std::vector<uint32_t> takeEmptied() { return std::exchange(emptied_, {}); }
  void noteEmptied(uint32_t index) { emptied_.push_back(index); }
  bool anyEmptied() const { return !emptied_.empty(); }

 private:
  std::vector<Segment> segments_;
  std::array<uint32_t, 9> counts_{};
  std::vector<uint32_t> emptied_;
  uint64_t segmentBytes_ = 0;
  uint32_t segmentBlocks_ = 0;
};

}  // namespace nabu::store
