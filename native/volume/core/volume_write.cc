#include <algorithm>
#include <cerrno>
#include <cstring>

#include "volume/core/clock.h"
#include "volume/core/volume.h"

namespace nabu::volume {

bool Volume::seenBefore(std::uint64_t unique) const {
  return std::binary_search(seenUniques_.begin(), seenUniques_.end(), unique);
}

// Puts a write or trim into the ring and over the map; kMustWait when there is no room.
int Volume::record(const Request& request) {
  const bool write = request.op == RequestOp::kWrite;
  if (!write) {
    const std::lock_guard lock(mapMutex_);
    if (overlay_.full()) return kMustWait;
  }
  auto place = ring_->reserve(write ? RingOp::kWrite : RingOp::kTrim, request.block, request.count);
  if (!place) return kMustWait;
  place->unique = request.unique;
  const std::uint64_t bytes = request.count * kBlockBytes;
  if (write) std::memcpy(ring_->bytesAt(place->position), request.bytes, bytes);
  {
    const std::lock_guard lock(mapMutex_);
    if (write) {
      overlay_.write(place->index, request.block, request.count, place->position);
    } else {
      overlay_.trim(place->index, request.block, request.count);
    }
  }
  // Last: a record that is published may be sealed, applied and taken off the overlay at any
  // moment.
  unsealedBytes_.fetch_add(write ? bytes : kBlockBytes);  // in order with sealIfWanted's look
  ring_->publish(*place);
  if (write) {
    counters_.writes.fetch_add(1, std::memory_order_relaxed);
    counters_.writtenBytes.fetch_add(bytes, std::memory_order_relaxed);
  } else {
    counters_.trims.fetch_add(1, std::memory_order_relaxed);
  }
  sealIfWanted(false);
  return 0;
}

// Tells the owner what there is to do: once per seal(), and of a first write once per
// watchWrites().
void Volume::sealIfWanted(bool flush) {
  const std::uint64_t pending = unsealedBytes_.load();
  const bool wantNow = flush || flushWaits_.load() || pending >= options_.sealBytes;
  if (wantNow) {
    if (sealAsked_.exchange(true)) return;
    events_.sealWanted(flush || flushWaits_.load() ? SealReason::kFlush : SealReason::kBytes,
                       pending);
  } else if (!firstAsked_.load() && !firstAsked_.exchange(true)) {
    events_.sealWanted(SealReason::kFirst, pending);
  }
}

int Volume::tryWrite(const Request& request, bool resent) {
  if (failed_.load(std::memory_order_relaxed)) return EIO;
  if (options_.readOnly) return EROFS;
  if (resent) {
    counters_.resent.fetch_add(1, std::memory_order_relaxed);
    if (seenBefore(request.unique)) {
      counters_.resentDone.fetch_add(1, std::memory_order_relaxed);
      return 0;
    }
  }
  // Nobody overtakes those who wait already.
  if (writesWaiting_.load() != 0) return kMustWait;
  return record(request);
}

void Volume::write(Request& request) {
  request.sinceNs = monotonicNs();
  request.answered = false;
  {
    const std::lock_guard lock(ioMutex_);
    waitingWrites_.push(request);
    writesWaiting_.fetch_add(1);
  }
  if (failed_.load()) return fail();  // it was pushed behind fail()'s back
  if (!sealAsked_.exchange(true)) events_.sealWanted(SealReason::kSpace, unsealedBytes_.load());
  // Room may have come free between the try and the push, with nobody left to notice.
  retryWrites();
}

void Volume::retryWrites() {
  while (writesWaiting_.load() != 0) {
    Request* request = nullptr;
    int error = 0;
    {
      // ioMutex_ is held over record() so that the order of arrival stays: mapMutex_ is taken
      // inside, the one place where the two nest, always in this order.
      const std::lock_guard lock(ioMutex_);
      request = waitingWrites_.first();
      if (request == nullptr) return;
      error = request->answered ? 0 : record(*request);
      if (error == kMustWait) return;
      waitingWrites_.remove(*request);
      writesWaiting_.fetch_sub(1);
    }
    if (!request->answered) request->sink->answer(*request, error);
    request->sink->release(*request);
  }
}

int Volume::tryFlush() {
  if (failed_.load(std::memory_order_relaxed)) return EIO;
  counters_.flushes.fetch_add(1, std::memory_order_relaxed);
  return ring_->head() <= durableEnd_.load() ? 0 : kMustWait;
}

void Volume::flush(Request& request) {
  request.sinceNs = monotonicNs();
  request.answered = false;
  request.flushTarget = ring_->head();
  bool durable = false;
  {
    const std::lock_guard lock(ioMutex_);
    durable = request.flushTarget <= durableEnd_.load();
    if (!durable) {
      waitingFlushes_.push(request);
      flushWaits_.store(true);
    }
  }
  if (durable) {
    request.sink->answer(request, 0);
    request.sink->release(request);
    return;
  }
  if (failed_.load()) return fail();
  // Sealed already and on its way: nothing to ask for.
  if (sealIndex_.load() < request.flushTarget) sealIfWanted(true);
}

void Volume::answerFlushes() {
  std::vector<Request*> finished;
  {
    const std::lock_guard lock(ioMutex_);
    const std::uint64_t durable = durableEnd_.load();
    for (Request* r = waitingFlushes_.first(); r != nullptr;) {
      Request* next = r->after;
      if (r->flushTarget <= durable) {
        waitingFlushes_.remove(*r);
        finished.push_back(r);
      }
      r = next;
    }
    if (waitingFlushes_.size() == 0) flushWaits_.store(false);
  }
  for (Request* request : finished) {
    if (!request->answered) request->sink->answer(*request, 0);
    request->sink->release(*request);
  }
}

// Answers those that wait and are `late` with EIO; how many.
template <class Late>
std::size_t Volume::giveUp(Late&& late) {
  std::vector<Request*> gone;
  std::size_t count = 0;
  {
    const std::lock_guard lock(ioMutex_);
    for (RequestList* list : {&waitingReads_, &waitingWrites_, &waitingFlushes_}) {
      for (Request* r = list->first(); r != nullptr;) {
        Request* next = r->after;
        if (!r->answered && late(*r)) {
          r->answered = true;
          ++count;
          // A read stays until its parts have come: they are written into its buffer. It cannot be
          // released before its answer, because whoever finishes it needs the lock first.
          r->sink->answer(*r, EIO);
          if (list != &waitingReads_) {
            list->remove(*r);
            if (list == &waitingWrites_) writesWaiting_.fetch_sub(1);
            gone.push_back(r);
          }
        }
        r = next;
      }
    }
  }
  for (Request* r : gone) r->sink->release(*r);
  counters_.ioErrors.fetch_add(count, std::memory_order_relaxed);
  return count;
}

void Volume::expire(std::uint64_t nowNs) {
  const std::uint64_t limit = ioTimeoutNs_.load();
  if (limit == 0) return;
  const std::size_t late =
      giveUp([&](const Request& r) { return nowNs > r.sinceNs && nowNs - r.sinceNs >= limit; });
  counters_.timedOut.fetch_add(late, std::memory_order_relaxed);
}

void Volume::fail() {
  failed_.store(true);
  giveUp([](const Request&) { return true; });
}

}  // namespace nabu::volume
