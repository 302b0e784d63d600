#include <algorithm>
#include <cstring>

#include "volume/core/clock.h"
#include "volume/core/volume.h"
#include "volume/core/volume_format.h"

namespace nabu::volume {

void Volume::loadRoot(std::span<const std::byte> bytes,
                      std::function<void(Result<RootRecord>, std::uint64_t)> done) {
  if (load_ || lastSequence_ != 0 || map_.root() != 0) {
    return done(wrongState("loading the root", "it must be the first thing"), 0);
  }
  auto image = parseImage(bytes);
  if (!image.ok()) return done(image.error(), 0);
  const ImageHeader& header = image.value().header;
  if (header.volumeId != options_.volumeId) {
    return done(Error{Failure::kInvalidImage, "image", "it belongs to another volume"}, 0);
  }
  if (!header.hasRoot) return done(Error{Failure::kInvalidImage, "image", "it has no root"}, 0);
  const Entry& entry = image.value().entries.back();
  auto root = parseRoot(bytes.data() + std::size_t{entry.payload} * kBlockBytes);
  if (!root.ok()) return done(root.error(), 0);
  const RootRecord& record = root.value();
  if (record.volumeId != options_.volumeId || record.mapLevels != kMapLevels ||
      record.usageLevels != kUsageLevels || record.coveredSequence > header.position.sequence ||
      record.volumeBytes > kMaxVolumeBytes) {
    return done(Error{Failure::kInvalidImage, "image", "its root does not fit this volume"}, 0);
  }
  {
    const std::lock_guard lock(mapMutex_);
    map_.setRoot(record.mapRoot);
    usage_.setRoot(record.usageRoot);
  }
  if (record.volumeBytes > sizeBytes()) sizeBytes_.store(record.volumeBytes);
  load_ = LoadJob{record, header.position.sequence, std::move(done)};
  runLoad();
}

// Brings in the whole usage tree (8 bytes per log blob), then takes the counts from it.
void Volume::runLoad() {
  std::vector<PageNeed> missing;
  {
    const std::lock_guard lock(mapMutex_);
    usage_.missingPages(missing, kMaxLeafFetches);
  }
  if (!missing.empty()) {
    std::vector<FetchWanted> wanted;
    for (const PageNeed& need : missing) waitForPage(PageOf::kUsage, need, nullptr, wanted);
    if (!wanted.empty()) events_.fetch(wanted);
    return;
  }
  LoadJob job = std::move(*load_);
  load_.reset();
  coveredSequence_ = committedSequence_ = appliedSequence_ = job.root.coveredSequence;
  lastSequence_ = job.root.coveredSequence;
  checkpointSequence_ = job.rootSequence;
  loadedCheckpointId_ = job.root.checkpointId;
  std::vector<Location> pages;
  {
    const std::lock_guard lock(mapMutex_);
    usage_.storedLocations(pages);
    usage_.forEachLoaded([&](std::uint64_t sequence, std::uint64_t value) {
      ++knownSequences_;
      liveBlocks_ += liveOf(value);
      totalBlocks_ += totalOf(value);
      // An image that was being applied when the checkpoint was frozen is known too; replay goes
      // over it again.
      if (liveOf(value) == 0 && sequence <= coveredSequence_) dead_.insert(sequence);
    });
  }
  for (const Location page : pages) ++usagePagesIn_.at(sequenceOf(page));
  ++usagePagesIn_.at(job.rootSequence);
  // What was dead in a durable checkpoint can be deleted (again) at once.
  for (const std::uint64_t sequence : dead_) {
    if (usagePagesIn_.find(sequence) == nullptr) deletable_.insert(sequence);
  }
  job.done(job.root, knownSequences_);
}

void Volume::applyImage(std::span<const std::byte> bytes, std::function<void(Status)> done) {
  auto parsed = parseImage(bytes);
  if (!parsed.ok()) return done(parsed.error());
  const ImageHeader header = parsed.value().header;
  const auto shared = std::make_shared<std::function<void(Status)>>(std::move(done));
  Status taken =
      takeForReplay(std::move(parsed.value()), [shared](Status status) { (*shared)(status); });
  if (!taken.ok()) return (*shared)(taken);
  journal_.append(header.position.sequence,
                  bytes.first(kImageHeaderBytes + header.entryCount * kImageEntryBytes));
  runApply();
}

// The next image of history, to be applied by runApply().
Status Volume::takeForReplay(ParsedImage parsed, std::function<void(Status)> done) {
  const ImageHeader& header = parsed.header;
  if (header.volumeId != options_.volumeId) {
    return Error{Failure::kInvalidImage, "image", "it belongs to another volume"};
  }
  if (header.position.sequence <= lastSequence_ || !unacknowledged_.empty()) {
    return wrongState("applying an image",
                      "images are applied in rising order, before anything is sealed");
  }
  lastSequence_ = committedSequence_ = header.position.sequence;
  if (header.kind == ImageKind::kLog && header.ringId == ring_->id())
    replayedRingEnd_ = header.ringEnd;
  if (header.volumeBytes > sizeBytes()) sizeBytes_.store(header.volumeBytes);
  Image image;
  image.kind = header.kind;
  image.sequence = header.position.sequence;
  image.payloadBlocks = header.payloadBlocks;
  image.pagesLive = header.checkpointId == loadedCheckpointId_ && loadedCheckpointId_ != 0;
  image.pieces.reserve(parsed.entries.size());
  for (const Entry& entry : parsed.entries) image.pieces.push_back(Piece{.entry = entry});
  image.done = std::move(done);
  applying_.push_back(std::move(image));
  return Done{};
}

void Volume::resumeJournal(JournalEpoch last, std::function<void(Result<Resumed>)> done) {
  if (load_ || !applying_.empty() || lastSequence_ != coveredSequence_) {
    return done(wrongState("resuming", "it comes after the root and before any image"));
  }
  Resumed resumed{coveredSequence_, {}};
  if (last == JournalEpoch{} || journal_.epoch() != last ||
      journal_.from() > coveredSequence_ + 1) {
    journal_.claim({});
    journal_.restart(coveredSequence_ + 1);
    return done(std::move(resumed));
  }
  std::vector<ParsedImage> images;
  std::vector<std::byte> blocks;
  journal_.forEach([&](std::uint64_t sequence, std::span<const std::byte> bytes) {
    if (sequence <= coveredSequence_) return true;
    // The zeros behind the entries are not kept.
    if (bytes.size() < kImageHeaderBytes || imageHeaderLength(bytes) < bytes.size()) return false;
    blocks.assign(imageHeaderLength(bytes), std::byte{0});
    std::memcpy(blocks.data(), bytes.data(), bytes.size());
    auto parsed = parseImageHeader(blocks);
    if (!parsed.ok() || parsed.value().header.position.sequence != sequence) return false;
    images.push_back(std::move(parsed.value()));
    return true;
  });
  if (images.empty()) return done(std::move(resumed));
  for (const ParsedImage& image : images) {
    resumed.images.emplace_back(image.header.position.sequence, image.header.imageBytes());
  }
  resumed.throughSequence = resumed.images.back().first;
  const auto shared = std::make_shared<Resumed>(std::move(resumed));
  for (std::size_t i = 0; i < images.size(); ++i) {
    // Each has one: that is how an image of history is told from one of ours.
    std::function<void(Status)> finished = [](const Status&) {};
    if (i + 1 == images.size()) {
      finished = [shared, done](Status status) {
        if (status.ok()) return done(std::move(*shared));
        done(status.error());
      };
    }
    if (Status taken = takeForReplay(std::move(images[i]), std::move(finished)); !taken.ok()) {
      return done(taken.error());
    }
  }
  runApply();
}

void Volume::checkpointPublished() {
  journal_.dropThrough(coveredSequence_);
  journalAsked_ = false;
}

Result<Volume::Reapplied> Volume::reapplyRing() {
  if (!applying_.empty() || load_)
    return wrongState("taking over the ring", "replay is not finished");
  if (!seenUniques_.empty() || !unacknowledged_.empty()) {
    return wrongState("taking over the ring", "it was done before");
  }
  Reapplied reapplied;
  seenUniques_ = ring_->seenUniques();
  // What the log holds already must not be sealed again: a later image would bring old content back
  // over newer, and a power loss could leave it at that.
  ring_->release(std::min(replayedRingEnd_, ring_->head()));
  std::uint64_t pending = 0;
  {
    const std::lock_guard lock(mapMutex_);
    std::uint64_t expected = ring_->tail();
    for (const std::uint64_t index : ring_->found()) {
      if (index < expected) continue;
      for (; expected < index; ++expected) holes_.insert(expected);
      ++expected;
      const auto record = ring_->published(index);
      if (!record) continue;
      ++reapplied.entries;
      if (record->op == RingOp::kWrite) {
        overlay_.write(index, record->block, record->count, record->position);
        reapplied.bytes += record->count * kBlockBytes;
        pending += record->count * kBlockBytes;
      } else {
        overlay_.trim(index, record->block, record->count);
        pending += kBlockBytes;
      }
    }
  }
  ring_->dropSeen();
  sealIndex_.store(ring_->tail());
  durableEnd_.store(ring_->tail());
  unsealedBytes_.store(pending);
  if (pending != 0) sealIfWanted(false);
  return reapplied;
}

}  // namespace nabu::volume
