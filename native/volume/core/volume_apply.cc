#include <algorithm>
#include <cstring>

#include "volume/core/clock.h"
#include "volume/core/volume.h"
#include "volume/core/volume_format.h"

namespace nabu::volume {
namespace {

constexpr int kApplyBlocks = 256;  // per turn of the map lock
// Longer writes would only push out what is read often.
constexpr std::uint32_t kCacheWriteBlocks = 16;

}  // namespace

void Volume::usageOpen(std::uint64_t sequence, std::uint32_t total) {
  PageNeed need;
  const std::uint64_t before = usage_.get(sequence, need).value_or(0);
  if (before == 0) ++knownSequences_;
  totalBlocks_ += total - totalOf(before);
  usage_.set(sequence, kUsageKnown | std::uint64_t{total} << 24 | liveOf(before), need);
}

void Volume::usageAdd(std::uint64_t sequence, std::int32_t live) {
  PageNeed need;  // the usage tree is wholly in memory
  const std::uint64_t before = usage_.get(sequence, need).value_or(0);
  if ((before & kUsageKnown) == 0) return;
  const std::uint64_t after =
      (before & ~kUsageCountMask) | ((liveOf(before) + live) & kUsageCountMask);
  liveBlocks_ += live;
  usage_.set(sequence, after, need);
  if (liveOf(after) == 0 && sequence != applyingSequence_) dead_.insert(sequence);
}

// One piece, or as much of it as `budget` blocks allow. False with `need` when a page is missing.
bool Volume::applyPiece(Image& image, const Piece& piece, int& budget, PageNeed& need) {
  const Entry& entry = piece.entry;
  const auto replace = [&](std::uint64_t block, Location to) {
    const auto before = map_.set(block, to, need);
    if (!before) return false;
    if (*before != 0) usageAdd(sequenceOf(*before), -1);
    if (to != 0) usageAdd(image.sequence, 1);
    return true;
  };
  const auto placeOf = [&](std::uint64_t i) {
    return makeLocation(image.sequence, entry.payload + static_cast<std::uint32_t>(i));
  };
  switch (entry.kind) {
    case EntryKind::kWrite:
      for (; image.within < entry.count && budget > 0; ++image.within, --budget) {
        if (!replace(entry.block + image.within, placeOf(image.within))) return false;
        if (piece.recordBlocks != 0) overlay_.applied(piece.ringIndex, entry.block + image.within);
      }
      return true;
    case EntryKind::kCopyIfAt:
      for (; image.within < entry.count && budget > 0; ++image.within, --budget) {
        const auto now = map_.get(entry.block + image.within, need);
        if (!now) return false;
        if (*now != entry.old + image.within) continue;
        if (!replace(entry.block + image.within, placeOf(image.within))) return false;
      }
      return true;
    case EntryKind::kTrim:
      while (image.within < entry.count && budget > 0) {
        const std::uint64_t end = entry.block + entry.count;
        std::uint64_t block = entry.block + image.within;
        const bool found = map_.nextMapped(block, end, need);
        image.within = block - entry.block;
        if (!found || (block < end && !replace(block, 0))) return false;
        image.within = std::min(block + 1, end) - entry.block;
        --budget;
      }
      // A record that goes on in the next image stays over the map: nothing after it can be applied
      // before that.
      if (image.within == entry.count && piece.endsRecord) {
        overlay_.trimApplied(piece.ringIndex, piece.recordBlock, piece.recordBlocks);
      }
      return true;
    case EntryKind::kMapPage:
      if (image.pagesLive) usageAdd(image.sequence, 1);
      image.within = entry.count;
      return true;
    case EntryKind::kUsagePage:
    case EntryKind::kRoot:
      image.within = entry.count;
      return true;
  }
  return true;
}

// Some blocks of the image under one turn of the lock. False with `need` when a page is missing.
bool Volume::applySome(Image& image, PageNeed& need) {
  const std::lock_guard lock(mapMutex_);
  if (!image.begun) {
    image.begun = true;
    applyingSequence_ = image.sequence;
    usageOpen(image.sequence, image.payloadBlocks);
  }
  for (int budget = kApplyBlocks; image.piece < image.pieces.size() && budget > 0;) {
    const Piece& piece = image.pieces[image.piece];
    if (!applyPiece(image, piece, budget, need)) return false;
    if (image.within < piece.entry.count) break;
    image.within = 0;
    ++image.piece;
  }
  return true;
}

void Volume::finishApplied(Image& image) {
  {
    const std::lock_guard lock(mapMutex_);
    applyingSequence_ = 0;
    PageNeed need;
    if (liveOf(usage_.get(image.sequence, need).value_or(0)) == 0) dead_.insert(image.sequence);
  }
  appliedSequence_ = image.sequence;
  if (image.kind != ImageKind::kCheckpoint) ++changes_;
  if (image.kind == ImageKind::kLog && image.ringEnd != 0) {
    ring_->release(image.ringEnd);
    retryWrites();
  }
}

void Volume::prefetchLeaves(const Image& image, std::vector<FetchWanted>& wanted) {
  std::vector<PageNeed> needs;
  {
    const std::lock_guard lock(mapMutex_);
    std::uint64_t lastLeaf = ~std::uint64_t{0};
    for (std::size_t i = image.piece; i < image.pieces.size() && needs.size() < kMaxLeafFetches;
         ++i) {
      const Entry& entry = image.pieces[i].entry;
      if (entry.kind != EntryKind::kWrite && entry.kind != EntryKind::kCopyIfAt) continue;
      for (std::uint64_t block = entry.block; block < entry.block + entry.count;
           block += kPageEntries) {
        if (block / kPageEntries == lastLeaf) continue;
        lastLeaf = block / kPageEntries;
        PageNeed need;
        if (!map_.get(block, need)) needs.push_back(need);
      }
    }
  }
  for (const PageNeed& need : needs) waitForPage(PageOf::kMap, need, nullptr, wanted);
}

// Small writes are likely to be read again: they go from the ring into the cache before the ring
// lets go of them.
void Volume::cacheWritten(const Image& image) {
  for (const Piece& piece : image.pieces) {
    if (piece.recordBlocks == 0 || piece.entry.kind != EntryKind::kWrite) continue;
    if (piece.recordBlocks > kCacheWriteBlocks && !cache_.hasRoom()) continue;
    cache_.insert(makeLocation(image.sequence, piece.entry.payload), piece.entry.count,
                  ring_->bytesAt(piece.ringPosition), true);
  }
}

void Volume::runApply() {
  while (!applying_.empty() && !applyStuck_ && !closed_) {
    Image& image = applying_.front();
    if (map_.dirtyPages() >= map_.pageLimit() && image.kind != ImageKind::kCheckpoint &&
        !image.done) {
      // The map may not grow: a checkpoint comes first. Writes wait when the ring is full.
      if (!checkpointAsked_) events_.checkpointWanted(map_.dirtyPages(), true);
      checkpointAsked_ = true;
      return;
    }
    if (!image.begun) cacheWritten(image);
    PageNeed need;
    while (image.piece < image.pieces.size() || !image.begun) {
      if (applySome(image, need)) continue;
      std::vector<FetchWanted> wanted;
      waitForPage(PageOf::kMap, need, nullptr, wanted);
      prefetchLeaves(image, wanted);
      if (!wanted.empty()) events_.fetch(wanted);
      return;
    }
    finishApplied(image);
    auto done = std::move(image.done);
    applying_.pop_front();
    if (done) done(Done{});
  }
  if (!checkpointAsked_ && map_.dirtyPages() * 2 >= map_.pageLimit()) {
    checkpointAsked_ = true;
    events_.checkpointWanted(map_.dirtyPages(), false);
  }
}

void Volume::runOwnerWork() {
  if (load_) runLoad();
  runApply();
  runClean();
}

}  // namespace nabu::volume
