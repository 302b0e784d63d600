#include <cerrno>
#include <cstring>

#include "volume/core/volume.h"

namespace nabu::volume {
namespace {
constexpr std::uint32_t kLongReadBlocks = 64;
// A part that was lost twice, with a fresh look at the map in between, is lost.
constexpr std::uint8_t kMaxLosses = 2;
}  // namespace

Volume::Fetch& Volume::newFetch(Location location, std::uint32_t count, bool prefetch,
                                std::vector<FetchWanted>& wanted) {
  auto fetch = std::make_unique<Fetch>();
  fetch->wanted = {nextFetchId_++, sequenceOf(location), blockOf(location), count, prefetch};
  Fetch& made = *fetch;
  for (std::uint32_t i = 0; i < count; ++i) inFlight_.at(location + i) = &made;
  fetches_.at(made.wanted.id) = std::move(fetch);
  if (prefetch) prefetching_ += count;
  wanted.push_back(made.wanted);
  return made;
}

void Volume::waitForPage(PageOf of, const PageNeed& need, Request* request,
                         std::vector<FetchWanted>& wanted) {
  const std::lock_guard lock(ioMutex_);
  Fetch** found = pagesInFlight_.find(need.location);
  if (found == nullptr) {
    auto fetch = std::make_unique<Fetch>();
    fetch->wanted = {nextFetchId_++, sequenceOf(need.location), blockOf(need.location), 1, false};
    fetch->pageOf = of;
    fetch->page = need;
    pagesInFlight_.at(need.location) = fetch.get();
    wanted.push_back(fetch->wanted);
    found = pagesInFlight_.find(need.location);
    fetches_.at(fetch->wanted.id) = std::move(fetch);
  }
  if (request != nullptr) {
    (*found)->lookups.push_back(request);
  } else {
    (*found)->forOwner = true;
  }
}

std::uint32_t Volume::fetchBlocks(std::uint64_t id) {
  const std::lock_guard lock(ioMutex_);
  auto* found = fetches_.find(id);
  return found == nullptr ? 0 : (*found)->wanted.count;
}

Status Volume::fetched(std::uint64_t id, const std::byte* bytes, std::size_t room,
                       FetchOutcome outcome) {
  if (closed_) return Done{};  // a late answer
  Location location = 0;
  std::uint32_t count = 0;
  bool page = false;
  bool prefetch = false;
  {
    const std::lock_guard lock(ioMutex_);
    auto* found = fetches_.find(id);
    if (found == nullptr) return Error{Failure::kBadArgument, "id", "names no fetch in flight"};
    const Fetch& fetch = **found;
    location = makeLocation(fetch.wanted.sequence, fetch.wanted.block);
    count = fetch.wanted.count;
    page = fetch.pageOf != PageOf::kNone;
    prefetch = fetch.wanted.prefetch && fetch.waiters.empty();
  }
  const bool ok = outcome == FetchOutcome::kOk;
  if (ok && room < count * kBlockBytes) {
    return Error{Failure::kBadArgument, "slabOffset", "leaves too little room for the blocks"};
  }
  // A long read that nobody else waits for would only push out what is read often: it is kept while
  // there is room.
  const bool keep = prefetch || count < kLongReadBlocks || cache_.hasRoom();
  if (ok && !page && keep) cache_.insert(location, count, bytes, false);

  Fetch fetch;
  std::vector<Request*> again;
  std::vector<Request*> finished;
  std::vector<std::pair<Request*, const std::byte*>> whole;
  {
    const std::lock_guard lock(ioMutex_);
    auto* found = fetches_.find(id);
    Fetch& stored = **found;
    if (page) {
      pagesInFlight_.erase(location);
    } else {
      for (std::uint32_t i = 0; i < count; ++i) inFlight_.erase(location + i);
      if (stored.wanted.prefetch) prefetching_ -= count;
    }
    fetch = std::move(stored);
    fetches_.erase(id);
    if (!page) {
      for (const Waiter& waiter : fetch.waiters) {
        Request& request = *waiter.request;
        if (ok && !request.answered && waiter.count == request.count && request.pieces == 1) {
          // All of it at once: answered straight from here, below.
          request.answered = true;
          request.pieces = 0;
          waitingReads_.remove(request);
          readsWaiting_.store(waitingReads_.size(), std::memory_order_relaxed);
          whole.emplace_back(&request, bytes + std::size_t{waiter.from} * kBlockBytes);
          continue;
        }
        if (ok && !request.answered) {
          std::memcpy(waiter.to, bytes + std::size_t{waiter.from} * kBlockBytes,
                      waiter.count * kBlockBytes);
        }
        finishPart(request, ok, outcome, again, finished);
      }
    }
  }
  if (prefetch && ok) counters_.prefetchedBlocks.fetch_add(count, std::memory_order_relaxed);
  if (page) {
    pageFetched(std::move(fetch), bytes, outcome);
    return Done{};
  }
  for (const auto& [request, content] : whole) {
    if (!request->sink->answerFrom(*request, content)) {
      std::memcpy(request->bytes, content, request->count * kBlockBytes);
      request->sink->answer(*request, 0);
    }
    request->sink->release(*request);
  }
  for (Request* request : finished) settleRead(*request, request->losses >= kMaxLosses ? EIO : 0);
  for (Request* request : again) lookUp(*request, 0);
  return Done{};
}

// ioMutex_ is held.
void Volume::finishPart(Request& request, bool copied, FetchOutcome outcome,
                        std::vector<Request*>& again, std::vector<Request*>& finished) {
  if (!copied) {
    request.again = true;
    if (outcome == FetchOutcome::kLost && request.losses < kMaxLosses) ++request.losses;
  }
  if (--request.pieces != 0) return;
  if (request.again && request.losses < kMaxLosses && !request.answered) {
    request.again = false;
    again.push_back(&request);
  } else {
    finished.push_back(&request);
  }
}

void Volume::settleRead(Request& request, int error) {
  bool answer = false;
  {
    const std::lock_guard lock(ioMutex_);
    waitingReads_.remove(request);
    readsWaiting_.store(waitingReads_.size(), std::memory_order_relaxed);
    answer = !request.answered;
    request.answered = true;
  }
  if (answer) {
    if (error != 0) counters_.ioErrors.fetch_add(1, std::memory_order_relaxed);
    request.sink->answer(request, error);
  }
  request.sink->release(request);
}

void Volume::pageFetched(Fetch fetch, const std::byte* bytes, FetchOutcome outcome) {
  if (outcome == FetchOutcome::kOk) {
    const std::lock_guard lock(mapMutex_);
    (fetch.pageOf == PageOf::kMap ? map_ : usage_).install(fetch.page, bytes);
  }
  for (Request* request : fetch.lookups) {
    bool given = false;
    {
      const std::lock_guard lock(ioMutex_);
      if (outcome == FetchOutcome::kLost) ++request->losses;
      given = request->answered || request->losses >= kMaxLosses;
    }
    if (given) {
      settleRead(*request, EIO);
    } else {
      lookUp(*request, 0);
    }
  }
  if (!fetch.forOwner) return;
  if (outcome == FetchOutcome::kLost && load_) {
    auto done = std::move(load_->done);
    load_.reset();
    done(Error{Failure::kLost, "usage page", "a page of the checkpoint cannot be read"}, 0);
    return;
  }
  if (outcome == FetchOutcome::kLost) {
    // A replay that cannot go on says so. While serving nothing is given up: the ring keeps the
    // records, and the page is asked for again with the next commit.
    applyStuck_ = true;
    std::function<void(Status)> done;
    for (Image& image : applying_) {
      if (!image.done) continue;
      done = std::move(image.done);
      image.done = nullptr;
      break;
    }
    if (done) done(Error{Failure::kLost, "map page", "a page of the map cannot be read"});
    if (!cleaning_.empty()) {
      auto cleaned = std::move(cleaning_.front().done);
      cleaning_.pop_front();
      cleaned(Error{Failure::kLost, "map page", "a page of the map cannot be read"});
    }
    return;
  }
  runOwnerWork();
}

}  // namespace nabu::volume
