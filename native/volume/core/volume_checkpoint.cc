#include <algorithm>
#include <cstring>

#include "volume/core/clock.h"
#include "volume/core/volume.h"
#include "volume/core/volume_format.h"

namespace nabu::volume {

Result<bool> Volume::beginCheckpoint() {
  if (closed_) return Error{Failure::kClosed, "volume", "it was closed"};
  if (checkpointing_) return wrongState("beginning a checkpoint", "one is being made");
  if (load_) return wrongState("beginning a checkpoint", "the root is being loaded");
  if (changes_ == 0) return false;
  std::vector<Location> replaced;
  {
    const std::lock_guard lock(mapMutex_);
    map_.freeze(replaced);
    // As of the new checkpoint the versions of pages that it replaces are dead. Its own pages are
    // counted when its images are applied, here as at replay.
    for (const Location page : replaced) usageAdd(sequenceOf(page), -1);
    replaced.clear();
    usage_.freeze(replaced);
    dyingNext_.assign(dead_.begin(), dead_.end());
  }
  checkpointing_ = true;
  checkpointId_ = 0;
  checkpointCovers_ = appliedSequence_;
  changes_ = 0;
  return true;
}

Result<Sealed> Volume::nextCheckpointImage(std::span<std::byte> room, const Position& position) {
  if (Status ok = checkImageCall(room, position); !ok.ok()) return ok.error();
  if (!checkpointing_) return wrongState("building a checkpoint image", "no checkpoint was begun");
  if (checkpointId_ == 0) checkpointId_ = position.sequence;
  Image image;
  image.kind = ImageKind::kCheckpoint;
  image.sequence = position.sequence;
  ImageHeader header;
  header.kind = ImageKind::kCheckpoint;
  header.volumeId = options_.volumeId;
  header.position = position;
  header.volumeBytes = sizeBytes();
  header.checkpointId = checkpointId_;
  std::vector<Entry> entries;
  {
    const std::lock_guard lock(mapMutex_);
    const auto maxBlocks =
        static_cast<std::uint32_t>(std::min(room.size(), kMaxImageBytes) / kBlockBytes);
    // Room for entries is set aside for all pages that may come; empty ones are not written.
    const std::size_t pages =
        std::min<std::size_t>(map_.pendingPages() + usage_.pendingPages() + 1, maxBlocks);
    header.headerBlocks = imageHeaderBlocks(pages);
    std::uint32_t at = header.headerBlocks;
    const auto place = [&](RadixMap& tree, EntryKind kind) {
      while (auto page = tree.next()) {
        if (page->empty) {
          tree.placed(0);
          continue;
        }
        if (at >= maxBlocks) return false;
        std::memcpy(room.data() + std::size_t{at} * kBlockBytes, page->entries->data(),
                    kBlockBytes);
        entries.push_back({kind, page->id.level, 1, page->id.index, 0, at});
        tree.placed(makeLocation(position.sequence, at));
        ++at;
      }
      return true;
    };
    if (place(map_, EntryKind::kMapPage) && place(usage_, EntryKind::kUsagePage) &&
        at < maxBlocks) {
      const RootRecord root{options_.volumeId, checkpointCovers_, checkpointId_, sizeBytes(),
                            map_.root(),       usage_.root(),     kMapLevels,    kUsageLevels};
      writeRoot(root, room.data() + std::size_t{at} * kBlockBytes);
      entries.push_back({EntryKind::kRoot, 0, 1, 0, 0, at});
      ++at;
      image.hasRoot = header.hasRoot = true;
      std::vector<Location> pagesNow;
      usage_.storedLocations(pagesNow);
      usagePagesNext_ = FlatMap<std::uint32_t>();
      for (const Location page : pagesNow) ++usagePagesNext_.at(sequenceOf(page));
      ++usagePagesNext_.at(position.sequence);
    }
    header.payloadBlocks = image.payloadBlocks = at - header.headerBlocks;
  }
  header.entryCount = static_cast<std::uint32_t>(entries.size());
  writeImageHeader(header, entries, room.data());
  image.header = headerCopy(room, entries.size());
  for (const Entry& entry : entries) image.pieces.push_back(Piece{.entry = entry});
  lastSequence_ = position.sequence;
  const bool last = image.hasRoot;
  unacknowledged_.push_back(std::move(image));
  return Sealed{header.imageBytes(), header.payloadBlocks, header.entryCount, !last, last};
}

void Volume::finishCheckpoint(const Image& image) {
  checkpointing_ = false;
  checkpointAsked_ = false;
  coveredSequence_ = checkpointCovers_;
  checkpointSequence_ = image.sequence;
  std::swap(usagePagesIn_, usagePagesNext_);
  for (const std::uint64_t sequence : dyingNext_) {
    if (usagePagesIn_.find(sequence) == nullptr) deletable_.insert(sequence);
  }
  dyingNext_.clear();
}

}  // namespace nabu::volume
