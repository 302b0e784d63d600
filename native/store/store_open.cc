#include <algorithm>
#include <bit>
#include <chrono>

#include "store/store.h"

// From a device to a store that serves: superblock, segment headers, checkpoint, replay.

namespace nabu::store {
namespace {

constexpr uint64_t kDefaultSegments = 64;
constexpr uint64_t kSmallestDefault = 4U << 20;
constexpr uint64_t kLargestDefault = 256U << 20;
constexpr uint32_t kHeaderReaders = 32;

uint64_t defaultSegmentBytes(uint64_t deviceBytes) {
  return std::clamp(std::bit_floor(deviceBytes / kDefaultSegments), kSmallestDefault,
                    kLargestDefault);
}

}  // namespace

void Store::failOpen(OpenErrorCode code, std::string message) {
  if (!openError_) openError_ = OpenError{code, std::move(message)};
}

Co<> Store::openTask() {
  const auto began = std::chrono::steady_clock::now();
  const bool good = co_await openSteps();
  if (good) {
    const auto took = std::chrono::steady_clock::now() - began;
    counters_.openMs =
        static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(took).count());
    opened_ = true;
    prepareMore(SpaceClass::kUser);
    schedule();
  } else {
    failOpen(OpenErrorCode::kIo, "a write failed");
  }
  openEnded_ = true;
}

Co<bool> Store::openSteps() {
  if (device_->sizeBytes() < kDataStart + kMinSegments * kMinSegmentBytes) {
    failOpen(OpenErrorCode::kTooSmall, "the device has fewer than 1.5 MiB");
    co_return false;
  }
  AlignedBuffer copies(2 * kBlockBytes);
  SuperblockVerdict verdicts[2];
  for (int i = 0; i < 2; ++i) {
    const int error = co_await AwaitIo(*device_, IoKind::kRead, i == 0 ? 0 : kSecondSuperblock,
                                       copies.bytes() + i * kBlockBytes, kBlockBytes);
    verdicts[i] = error != 0 ? SuperblockVerdict::kDamaged
                             : judgeSuperblock(copies.as<Superblock>(i * kBlockBytes));
  }
  const auto is = [&](int i, SuperblockVerdict verdict) { return verdicts[i] == verdict; };
  const auto both = [&](SuperblockVerdict verdict) { return is(0, verdict) && is(1, verdict); };
  int use = -1;
  for (int i = 0; i < 2; ++i) {
    if (!is(i, SuperblockVerdict::kGood)) continue;
    if (use < 0 || copies.as<Superblock>(i * kBlockBytes).revision >
                       copies.as<Superblock>(use * kBlockBytes).revision) {
      use = i;
    }
  }
  if (use < 0) {
    if (is(0, SuperblockVerdict::kUnknownVersion) || is(1, SuperblockVerdict::kUnknownVersion)) {
      const int which = is(0, SuperblockVerdict::kUnknownVersion) ? 0 : 1;
      failOpen(OpenErrorCode::kUnknownFormat,
               std::to_string(copies.as<Superblock>(which * kBlockBytes).version));
      co_return false;
    }
    if (!both(SuperblockVerdict::kBlank)) {
      const bool ours = is(0, SuperblockVerdict::kDamaged) || is(1, SuperblockVerdict::kDamaged);
      failOpen(
          ours ? OpenErrorCode::kDamaged : OpenErrorCode::kForeign,
          ours ? "both superblocks are damaged or unreadable" : "something that is not NabuStore");
      co_return false;
    }
    co_return co_await format();
  }
  super_ = copies.as<Superblock>(use * kBlockBytes);
  if (std::memcmp(super_.clusterId, options_.clusterId.data(), 16) != 0) {
    failOpen(OpenErrorCode::kForeign, "another cluster");
    co_return false;
  }
  if (std::strncmp(super_.nodeId, options_.nodeId.c_str(), sizeof super_.nodeId) != 0) {
    failOpen(OpenErrorCode::kForeign, "node " + std::string(super_.nodeId));
    co_return false;
  }
  if (super_.segmentCount < kMinSegments || super_.segmentsCreated > super_.segmentCount ||
      kDataStart + super_.segmentBytes * super_.segmentCount > device_->sizeBytes()) {
    failOpen(OpenErrorCode::kDamaged, "the device is smaller than when it was formatted");
    co_return false;
  }
  segments_.reset(super_.segmentCount, super_.segmentBytes);
  co_return co_await recover();
}

Co<bool> Store::format() {
  if (!options_.formatIfBlank) {
    failOpen(OpenErrorCode::kNotFormatted, "the device is blank");
    co_return false;
  }
  AlignedBuffer head(kDataStart);
  const int error = co_await AwaitIo(*device_, IoKind::kRead, 0, head.bytes(), head.sizeBytes());
  if (error != 0 || !allZero(head.bytes(), head.sizeBytes())) {
    failOpen(error != 0 ? OpenErrorCode::kIo : OpenErrorCode::kForeign,
             error != 0 ? "its first MiB cannot be read" : "something that is not NabuStore");
    co_return false;
  }
  const uint64_t size = device_->sizeBytes();
  uint64_t segmentBytes = options_.segmentBytes;
  if (segmentBytes == 0) segmentBytes = defaultSegmentBytes(size);
  if (segmentBytes % kBlockBytes != 0 || segmentBytes < kMinSegmentBytes ||
      segmentBytes > kMaxSegmentBytes) {
    failOpen(OpenErrorCode::kBadArgument, "segmentBytes");
    co_return false;
  }
  const uint64_t count = (size - kDataStart) / segmentBytes;
  if (count < kMinSegments || count > UINT32_MAX) {
    failOpen(OpenErrorCode::kTooSmall, "the device has room for " + std::to_string(count) +
                                           " segments, at least " + std::to_string(kMinSegments) +
                                           " are needed");
    co_return false;
  }
  if (options_.nodeId.size() >= sizeof super_.nodeId) {
    failOpen(OpenErrorCode::kBadArgument, "nodeId");
    co_return false;
  }
  super_ = {};
  super_.magic = kSuperblockMagic;
  super_.version = kFormatVersion;
  std::copy_n(options_.clusterId.begin(), 16, super_.clusterId);
  std::memcpy(super_.nodeId, options_.nodeId.data(), options_.nodeId.size());
  for (int i = 0; i < 2; ++i) {
    const uint64_t part = newRandom();
    std::memcpy(super_.deviceId + 8 * i, &part, 8);
  }
  super_.deviceId[6] =
      static_cast<uint8_t>((super_.deviceId[6] & 0x0f) | 0x40);  // RFC 4122, version 4
  super_.deviceId[8] = static_cast<uint8_t>((super_.deviceId[8] & 0x3f) | 0x80);
  super_.createdStamp = options_.nowMs() << 16;
  super_.completeSince = super_.createdStamp;
  super_.incarnation = super_.createdStamp | (newRandom() & 0xffff);
  super_.salt = newRandom();
  super_.deviceBytes = size;
  super_.segmentBytes = segmentBytes;
  super_.segmentCount = static_cast<uint32_t>(count);
  segments_.reset(super_.segmentCount, super_.segmentBytes);
  co_return co_await saveSuperblock();
}

/** Reads the two copies of each header; what cannot be told is scanned later. */
Co<> Store::headerReader(HeaderScan& scan) {
  AlignedBuffer buffer(kSegmentHeaderBlocks * kBlockBytes);
  while (scan.next < super_.segmentsCreated) {
    const uint32_t index = scan.next++;
    int error = co_await AwaitIo(*device_, IoKind::kRead, segments_.startByte(index),
                                 buffer.bytes(), buffer.sizeBytes());
    bool found = false;
    SegmentUse use = kUseFree;
    uint64_t checkpointId = 0;
    Segment& segment = segments_[index];
    for (uint32_t copy = 0; copy < kSegmentHeaderBlocks; ++copy) {
      uint8_t* at = buffer.bytes() + copy * kBlockBytes;
      if (error != 0) {
        // One bad sector must not take both copies.
        const int alone =
            co_await AwaitIo(*device_, IoKind::kRead,
                             segments_.startByte(index) + copy * kBlockBytes, at, kBlockBytes);
        if (alone != 0) continue;
      }
      const auto& header = *reinterpret_cast<const SegmentHeader*>(at);
      if (!goodSegmentHeader(header, super_, index)) continue;
      if (found && header.generation <= segment.generation) continue;
      found = true;
      segment.generation = header.generation;
      segment.firstSequence = header.firstSequence;
      use = static_cast<SegmentUse>(header.use);
      checkpointId = header.checkpointId;
    }
    segment.used = segments_.segmentBlocks();
    if (!found) {
      const bool blank = error == 0 && allZero(buffer.bytes(), buffer.sizeBytes());
      segments_.setState(index, blank ? SegmentState::kFree : SegmentState::kSealed);
      if (!blank) scan.lost.push_back(index);
    } else if (use == kUseRecords) {
      segments_.setState(index, SegmentState::kSealed);
    } else if (use == kUseCheckpoint && checkpointId == super_.checkpointId) {
      segments_.setState(index, SegmentState::kCheckpoint);
    } else {
      segments_.setState(index, SegmentState::kFree);
    }
    nextGeneration_ = std::max(nextGeneration_, segment.generation + 1);
  }
  if (--scan.readers == 0) scan.ended.notify();
}

Co<bool> Store::recover() {
  const bool clean = super_.clean != 0;
  HeaderScan scan;
  scan.readers = kHeaderReaders;
  for (uint32_t i = 0; i < kHeaderReaders; ++i) spawn(headerReader(scan));
  if (scan.readers > 0) co_await scan.ended.wait();

  checkpointStarted_ = super_.checkpointId;
  std::vector<CheckpointSegment> table;
  bool loaded = false;
  if (super_.checkpointId != 0) {
    loaded = co_await loadCheckpoint(table);
    if (!loaded) {
      // As if there were none: everything is in the records.
      ++counters_.checkpointFailures;
      index_ = Index();
      owners_ = OwnerTable();
      degraded_.clear();
      shards_ = tombstones_ = ruleBytes_ = 0;
      for (uint32_t i = 0; i < segments_.count(); ++i) {
        segments_[i].liveBytes = 0;
        if (segments_[i].state == SegmentState::kCheckpoint) {
          segments_.setState(i, SegmentState::kFree);
        }
      }
      super_.checkpointId = 0;
      super_.checkpointSegmentCount = 0;
    }
  }
  const uint64_t from = loaded ? super_.checkpointSequence : 0;
  nextSequence_ = std::max<uint64_t>(1, from);

  std::vector<Replay> replays;
  for (uint32_t i = 0; i < super_.segmentsCreated; ++i) {
    if (segments_[i].state != SegmentState::kSealed) continue;
    const bool lost = std::find(scan.lost.begin(), scan.lost.end(), i) != scan.lost.end();
    if (loaded) {
      const CheckpointSegment& known = table[i];
      if (lost) segments_[i].generation = known.generation;
      const auto state = static_cast<SegmentState>(known.state);
      if (known.generation == segments_[i].generation && known.generation != 0) {
        if (state == SegmentState::kSealed) continue;
        if (state == SegmentState::kFree || state == SegmentState::kCheckpoint ||
            (clean && state != SegmentState::kOpen && state != SegmentState::kSealing)) {
          segments_.setState(i, SegmentState::kFree);
          continue;
        }
      }
    }
    replays.push_back(
        {.segment = i, .lostHeader = lost, .scanned = false, .nextSequence = 0, .entries = {}});
  }
  const bool fine29 = co_await replay(replays, from);
  if (!fine29) co_return false;
  inFlightBase_ = nextSequence_;
  super_.clean = 0;
  co_return co_await saveSuperblock();
}

}  // namespace nabu::store
