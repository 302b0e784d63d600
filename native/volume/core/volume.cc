#include "volume/core/volume.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "volume/core/clock.h"
#include "volume/core/volume_format.h"

namespace nabu::volume {

Result<std::unique_ptr<Volume>> Volume::open(const VolumeOptions& options, int ringFd,
                                             VolumeEvents& events) {
  if (options.sizeBytes == 0 || options.sizeBytes % kBlockBytes != 0 ||
      options.sizeBytes > kMaxVolumeBytes) {
    return Error{Failure::kBadArgument, "sizeBytes",
                 "must be a positive multiple of 4096, at most 2^48"};
  }
  auto ring = WriteRing::open(ringFd, options.volumeId);
  if (!ring.ok()) return ring.error();
  std::unique_ptr<Volume> volume(new Volume(options, std::move(ring.value()), events));
  if (options.readCacheBytes >= kBlockBytes && volume->cache_.capacityBlocks() == 0) {
    return Error{Failure::kNoRoom, "memory", "the read cache cannot be mapped"};
  }
  return volume;
}

Volume::Volume(const VolumeOptions& options, std::unique_ptr<WriteRing> ring, VolumeEvents& events)
    : options_(options),
      events_(events),
      ring_(std::move(ring)),
      journal_(ring_->journalMemory()),
      cache_(options.readCacheBytes, {options.scratchFd, 0}),
      sizeBytes_(options.sizeBytes),
      ioTimeoutNs_(options.ioTimeoutMs * 1'000'000),
      map_(kMapLevels, options.mapCacheBytes / kBlockBytes),
      usage_(kUsageLevels, ~std::size_t{0}) {}

Volume::~Volume() { close(); }

void Volume::close() {
  if (closed_) return;
  closed_ = true;
  std::vector<Request*> waiting;
  std::vector<std::function<void(Status)>> callbacks;
  {
    const std::lock_guard lock(ioMutex_);
    for (RequestList* list : {&waitingReads_, &waitingWrites_, &waitingFlushes_}) {
      while (Request* r = list->first()) {
        list->remove(*r);
        waiting.push_back(r);
      }
    }
    writesWaiting_.store(0);
  }
  for (Request* r : waiting) {
    if (!r->answered) r->sink->answer(*r, ECANCELED);
    r->sink->release(*r);
  }
  const Error closing{Failure::kClosed, "volume", "it was closed"};
  for (Image& image : applying_) {
    if (image.done) std::exchange(image.done, nullptr)(closing);
  }
  for (CleanJob& job : cleaning_) std::exchange(job.done, nullptr)(closing);
  cleaning_.clear();
  if (load_) {
    auto done = std::move(load_->done);
    load_.reset();
    done(closing, 0);
  }
}

Status Volume::resize(std::uint64_t bytes) {
  if (bytes < sizeBytes() || bytes % kBlockBytes != 0 || bytes > kMaxVolumeBytes) {
    return Error{Failure::kBadArgument, "sizeBytes",
                 "must be a multiple of 4096, at least the present size and at most 2^48"};
  }
  sizeBytes_.store(bytes);
  return Done{};
}

VolumeStats Volume::stats() {
  VolumeStats s{};
  {
    const std::lock_guard lock(ioMutex_);
    s.fetchesInFlight = fetches_.size();
    s.waitingReads = waitingReads_.size();
    s.waitingWrites = waitingWrites_.size();
    s.waitingFlushes = waitingFlushes_.size();
    std::uint64_t oldest = ~std::uint64_t{0};
    for (const RequestList* list : {&waitingReads_, &waitingWrites_, &waitingFlushes_}) {
      if (list->first() != nullptr) oldest = std::min(oldest, list->first()->sinceNs);
    }
    const std::uint64_t now = monotonicNs();
    s.oldestWaitMs = oldest > now ? 0 : (now - oldest) / 1'000'000;
  }
  {
    const std::lock_guard lock(mapMutex_);
    s.mapPages = map_.pagesInMemory();
    s.dirtyPages = map_.dirtyPages();
    s.liveBlocks = liveBlocks_;
    s.totalBlocks = totalBlocks_;
    s.knownSequences = knownSequences_;
  }
  s.ringBytes = ring_->dataBytes();
  s.ringUsedBytes = ring_->usedBytes();
  s.unsealedBytes = unsealedBytes_.load();
  s.imagesInFlight = unacknowledged_.size();
  s.committedSequence = committedSequence_;
  s.appliedSequence = appliedSequence_;
  s.checkpointSequence = checkpointSequence_;
  s.coveredSequence = coveredSequence_;
  s.cacheCapacityBlocks = cache_.capacityBlocks();
  s.cacheUsedBlocks = cache_.usedBlocks();
  s.sizeBytes = sizeBytes();
  return s;
}

}  // namespace nabu::volume
