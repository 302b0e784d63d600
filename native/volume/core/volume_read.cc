#include <cerrno>
#include <chrono>
#include <cstring>

#include "volume/core/clock.h"
#include "volume/core/volume.h"

namespace nabu::volume {
namespace {
// With so many reads waiting the reader is ahead of itself already.
constexpr std::size_t kDeepReads = 4;
constexpr std::uint32_t kCacheRun = 64;  // blocks the cache looks at in one call
// Read-ahead on the way never takes more than a quarter of the cache, nor more than this.
constexpr std::size_t kMaxPrefetchBlocks = 4096;
}  // namespace

// A pin on the ring; whoever wrote meanwhile may have been refused room because of it.
class Volume::PinnedRead {
 public:
  PinnedRead(Volume& volume, int reader)
      : volume_(volume), pin_(std::in_place, *volume.ring_, reader) {}
  ~PinnedRead() {
    pin_.reset();
    if (volume_.writesWaiting_.load(std::memory_order_relaxed) != 0) volume_.retryWrites();
  }
  PinnedRead(const PinnedRead&) = delete;
  PinnedRead& operator=(const PinnedRead&) = delete;

 private:
  Volume& volume_;
  std::optional<WriteRing::Pin> pin_;
};

bool Volume::resolve(std::uint64_t block, std::uint32_t count, std::uint64_t* places,
                     PageNeed& need) {
  const std::lock_guard lock(mapMutex_);
  return resolveLocked(block, count, places, need);
}

bool Volume::resolveLocked(std::uint64_t block, std::uint32_t count, std::uint64_t* places,
                           PageNeed& need) {
  const bool overlaid = !overlay_.empty();
  for (std::uint32_t i = 0; i < count;) {
    const std::uint64_t at = block + i;
    const auto leafRest = static_cast<std::uint32_t>(kPageEntries - at % kPageEntries);
    const std::uint32_t n = std::min(leafRest, count - i);
    bool needMap = !overlaid;
    for (std::uint32_t j = 0; j < n; ++j) {
      places[i + j] = ~std::uint64_t{0};
      if (!overlaid) continue;
      if (const auto found = overlay_.find(at + j)) {
        places[i + j] = *found == Overlay::kZeros ? 0 : kInRing | *found;
      } else {
        needMap = true;
      }
    }
    if (needMap) {
      const auto leaf = map_.leafFrom(at, need);
      if (!leaf) return false;
      for (std::uint32_t j = 0; j < n; ++j) {
        if (places[i + j] == ~std::uint64_t{0}) places[i + j] = leaf->empty() ? 0 : (*leaf)[j];
      }
    }
    i += n;
  }
  return true;
}

int Volume::tryRead(std::uint64_t block, std::uint32_t count, std::byte* to, int reader) {
  if (failed_.load(std::memory_order_relaxed)) return EIO;
  std::uint64_t places[kMaxRequestBlocks];
  PageNeed need;
  const PinnedRead pinned(*this, reader);
  if (!resolve(block, count, places, need)) return kMustWait;
  std::uint32_t fromRing = 0, holes = 0, cached = 0;
  for (std::uint32_t i = 0; i < count;) {
    const std::uint64_t place = places[i];
    std::byte* dest = to + std::size_t{i} * kBlockBytes;
    std::uint32_t n = 1;
    if (place == 0) {
      while (i + n < count && places[i + n] == 0) ++n;
      std::memset(dest, 0, n * kBlockBytes);
      holes += n;
    } else if ((place & kInRing) != 0) {
      while (i + n < count && places[i + n] == place + n * kBlockBytes) ++n;
      std::memcpy(dest, ring_->bytesAt(place & ~kInRing), n * kBlockBytes);
      fromRing += n;
    } else {
      while (i + n < count && n < kCacheRun && places[i + n] == place + n) ++n;
      const std::uint64_t all = n == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << n) - 1;
      if (cache_.read(place, n, dest) != all) return kMustWait;
      cached += n;
    }
    i += n;
  }
  counters_.reads.fetch_add(1, std::memory_order_relaxed);
  counters_.readBytes.fetch_add(std::uint64_t{count} * kBlockBytes, std::memory_order_relaxed);
  if (fromRing != 0) counters_.ringBlocks.fetch_add(fromRing, std::memory_order_relaxed);
  if (holes != 0) counters_.holeBlocks.fetch_add(holes, std::memory_order_relaxed);
  if (cached != 0) counters_.cacheBlocks.fetch_add(cached, std::memory_order_relaxed);
  readAheadOf(block, count);
  return 0;
}

void Volume::read(Request& request, int reader) {
  request.sinceNs = monotonicNs();
  request.pieces = 0;
  request.losses = 0;
  request.again = request.answered = false;
  counters_.reads.fetch_add(1, std::memory_order_relaxed);
  counters_.readBytes.fetch_add(request.count * kBlockBytes, std::memory_order_relaxed);
  {
    const std::lock_guard lock(ioMutex_);
    waitingReads_.push(request);
    readsWaiting_.store(waitingReads_.size(), std::memory_order_relaxed);
  }
  if (failed_.load()) return settleRead(request, EIO);
  lookUp(request, reader);
  readAheadOf(request.block, static_cast<std::uint32_t>(request.count));
}

// Fills what is here and asks for what is not. The request is in waitingReads_.
void Volume::lookUp(Request& request, int reader) {
  const auto count = static_cast<std::uint32_t>(request.count);
  std::uint64_t places[kMaxRequestBlocks];
  bool missing[kMaxRequestBlocks];
  std::vector<FetchWanted> wanted;
  PageNeed need;
  bool complete = false;
  {
    const PinnedRead pinned(*this, reader);
    if (!resolve(request.block, count, places, need)) {
      waitForPage(PageOf::kMap, need, &request, wanted);
    } else {
      std::uint32_t misses = 0;
      for (std::uint32_t i = 0; i < count;) {
        const std::uint64_t place = places[i];
        std::byte* dest = request.bytes + std::size_t{i} * kBlockBytes;
        std::uint32_t n = 1;
        if (place == 0) {
          missing[i] = false;
          std::memset(dest, 0, kBlockBytes);
        } else if ((place & kInRing) != 0) {
          missing[i] = false;
          std::memcpy(dest, ring_->bytesAt(place & ~kInRing), kBlockBytes);
        } else {
          while (i + n < count && n < kCacheRun && places[i + n] == place + n) ++n;
          const std::uint64_t got = cache_.read(place, n, dest);
          for (std::uint32_t j = 0; j < n; ++j) {
            missing[i + j] = (got >> j & 1) == 0;
            misses += missing[i + j];
          }
        }
        i += n;
      }
      complete = misses == 0;
      if (!complete) {
        counters_.missBlocks.fetch_add(misses, std::memory_order_relaxed);
        attachMisses(request, places, missing, wanted);
      }
    }
  }
  if (!wanted.empty()) events_.fetch(wanted);
  if (complete) settleRead(request, 0);
}

// Ties each missing run to the fetch that brings it. `request.pieces` counts them, plus one while
// this runs.
void Volume::attachMisses(Request& request, const std::uint64_t* places, const bool* missing,
                          std::vector<FetchWanted>& wanted) {
  const auto count = static_cast<std::uint32_t>(request.count);
  bool finished = false;
  {
    const std::lock_guard lock(ioMutex_);
    request.pieces = 1;
    for (std::uint32_t i = 0; i < count;) {
      if (!missing[i]) {
        ++i;
        continue;
      }
      std::byte* dest = request.bytes + std::size_t{i} * kBlockBytes;
      Fetch** found = inFlight_.find(places[i]);
      std::uint32_t n = 1;
      if (found == nullptr) {
        // It may have come in since the cache was asked: it is put there before it leaves
        // inFlight_.
        if (cache_.read(places[i], 1, dest) != 0) {
          ++i;
          continue;
        }
        while (i + n < count && missing[i + n] && places[i + n] == places[i] + n &&
               inFlight_.find(places[i + n]) == nullptr) {
          ++n;
        }
        Fetch& fetch = newFetch(places[i], n, false, wanted);
        fetch.waiters.push_back({&request, 0, n, dest});
      } else {
        Fetch& fetch = **found;
        const std::uint32_t from = blockOf(places[i]) - fetch.wanted.block;
        while (i + n < count && missing[i + n] && places[i + n] == places[i] + n &&
               from + n < fetch.wanted.count) {
          ++n;
        }
        fetch.waiters.push_back({&request, from, n, dest});
      }
      ++request.pieces;
      i += n;
    }
    finished = --request.pieces == 0;
  }
  if (finished) settleRead(request, 0);
}

void Volume::readAheadOf(std::uint64_t block, std::uint32_t count) {
  if (readsWaiting_.load(std::memory_order_relaxed) >= kDeepReads) return;
  const Ahead ahead = readAhead_.next(block, count);
  if (ahead.count != 0) readAhead(ahead.block, ahead.count);
}

void Volume::readAhead(std::uint64_t block, std::uint32_t count) {
  const std::uint64_t end = std::min<std::uint64_t>(block + count, sizeBytes() / kBlockBytes);
  const std::size_t limit = std::min(kMaxPrefetchBlocks, cache_.capacityBlocks() / 4);
  std::vector<FetchWanted> wanted;
  while (block < end) {
    std::uint64_t places[kMaxRequestBlocks];
    PageNeed need;
    const auto n =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(end - block, kMaxRequestBlocks));
    if (!resolve(block, n, places, need)) break;  // the read itself will bring the page
    const std::lock_guard lock(ioMutex_);
    for (std::uint32_t i = 0; i < n;) {
      if (prefetching_ >= limit) {
        block = end;
        break;
      }
      const auto wants = [&](std::uint32_t at) {
        return places[at] != 0 && (places[at] & kInRing) == 0 &&
               inFlight_.find(places[at]) == nullptr && cache_.present(places[at], 1) == 0;
      };
      if (!wants(i)) {
        ++i;
        continue;
      }
      std::uint32_t run = 1;
      while (i + run < n && places[i + run] == places[i] + run && wants(i + run)) ++run;
      newFetch(places[i], run, true, wanted);
      i += run;
    }
    block += n;
  }
  if (!wanted.empty()) events_.fetch(wanted);
}

}  // namespace nabu::volume
