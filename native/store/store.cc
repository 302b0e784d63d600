#include "store/store.h"

#include <sys/random.h>

#include <sstream>

#include "store/operations.h"

namespace nabu::store {

Store::Store(std::unique_ptr<Device> device, StoreOptions options)
    : device_(std::move(device)), mapped_(device_->mapped()), options_(std::move(options)) {}

std::variant<std::unique_ptr<Store>, OpenError> Store::open(std::unique_ptr<Device> device,
                                                            StoreOptions options) {
  std::unique_ptr<Store> store(new Store(std::move(device), std::move(options)));
  spawn(store->openTask());
  // Nothing else is served before a store is open, so this may wait.
  while (!store->openEnded_) {
    store->device_->wait();
    store->device_->poll();
  }
  if (store->openError_) {
    OpenError error = *store->openError_;
    return error;
  }
  return store;
}

Store::~Store() {
  stopping_ = closing_ = true;
  // Each thing that ends may begin another, and queue it: until nothing waits and nothing is under
  // way.
  for (;;) {
    failAllWaiting(Status::kClosed);
    for (Signal* signal : {&tick_, &superFree_, &segmentFree_, &idle_}) signal->notify();
    if (device_->inFlight() == 0 && !anythingWaits()) break;
    if (device_->wait()) device_->poll();
  }
  // Appends that waited for a fence which did not become durable.
  auto parked = std::move(awaitingFence_);
  awaitingFence_.clear();
  for (auto& [owner, appends] : parked) {
    for (AppendWrite* append : appends) finishAppend(append, Status::kClosed);
  }
  auto waiters = std::move(ownerWaiters_);
  ownerWaiters_.clear();
  for (const OwnerWaiter& waiter : waiters) answer(waiter.done, Status::kClosed);
}

/**
 * Bytes of log between checkpoints. A checkpoint walks the whole index, so on a small device, whose
 * segments are small too, it is made seldom enough that walking costs little beside writing.
 */
uint64_t Store::checkpointEvery() const {
  constexpr uint64_t kSegments = 4, kLogPerIndexByte = 16, kPerDevice = 4;
  if (options_.checkpointEveryBytes != 0) return options_.checkpointEveryBytes;
  // The first ones come soon: they make room for those to come while a sparse device still can
  // grow.
  if (counters_.checkpoints < 2) return kSegments * super_.segmentBytes;
  const uint64_t forIndex = kLogPerIndexByte * index_.capacity() * sizeof(IndexEntry);
  return std::max(kSegments * super_.segmentBytes,
                  std::min(forIndex, super_.deviceBytes / kPerDevice));
}

bool Store::anythingWaits() const {
  if (anyWaiting()) return true;
  for (const Signal* signal : {&tick_, &superFree_, &segmentFree_, &idle_}) {
    if (signal->hasWaiters()) return true;
  }
  return false;
}

Status Store::writable() const {
  if (closing_) return Status::kClosed;
  if (failed_) return Status::kFailed;
  if (readOnly_) return Status::kReadOnly;
  return Status::kOk;
}

uint64_t Store::newRandom() {
  if (options_.random) return options_.random();
  uint64_t value = 0;
  while (::getrandom(&value, sizeof value, 0) != sizeof value) {
  }
  return value;
}

namespace {

Co<> answerAfter(Co<bool> work, Done done, int& tasks, Signal& idle) {
  ++tasks;
  const bool good = co_await std::move(work);
  --tasks;
  idle.notify();
  done(good ? Status::kOk : Status::kFailed, 0);
}

}  // namespace

Status Store::setFencesComplete(Done done) {
  if (const Status status = writable(); status != Status::kOk) return status;
  if (super_.fencesComplete != 0) return Status::kOk;
  super_.fencesComplete = 1;
  spawn(answerAfter(saveSuperblock(), done, tasks_, idle_));
  return Status::kPending;
}

Status Store::setCompleteSince(uint64_t stamp, Done done) {
  if (const Status status = writable(); status != Status::kOk) return status;
  if (super_.completeSince == stamp) return Status::kOk;
  super_.completeSince = stamp;
  spawn(answerAfter(saveSuperblock(), done, tasks_, idle_));
  return Status::kPending;
}

Status Store::checkpoint(Done done) {
  if (const Status status = writable(); status != Status::kOk) return status;
  checkpointWaiters_.push_back(done);
  checkpointWanted_ = true;
  schedule();
  return Status::kPending;
}

size_t Store::poll() {
  const size_t count = device_->poll();
  if (ownerWanted_) {
    ownerWanted_ = false;
    for (auto& [id, owner] : owners_.all()) ownerProgress(*owner);
  }
  tick_.notify();
  schedule();
  device_->kick();
  return count;
}

/** Starts what background work there is reason for. Cheap when there is none. */
void Store::schedule() {
  if (!opened_ || stopping_) return;
  if (sweeping_) sweepStep();
  if (segments_.anyEmptied()) {
    for (const uint32_t index : segments_.takeEmptied()) {
      Segment& segment = segments_[index];
      if (segment.state != SegmentState::kSealed || segment.liveBytes != 0) continue;
      segments_.setState(index, SegmentState::kFreed);
      segment.freedAt = checkpointStarted_;
      ++counters_.segmentsFreed;
    }
  }
  if (failed_ || readOnly_) {
    if (!checkpointWaiters_.empty() && !checkpointing_) {
      for (const Done& done : std::exchange(checkpointWaiters_, {})) done(Status::kFailed, 0);
    }
    return;
  }
  if (freeWanted_ && !freeing_) {
    freeing_ = true;
    freeWanted_ = false;
    spawn(freeSegments());
  }
  const uint32_t shortOf = checkpointNeed() + 3 + segments_.count() / 32;
  const bool spaceShort = takeable() <= shortOf;
  const uint64_t every = checkpointEvery();
  if (!checkpointing_ && !closing_ && options_.nowMs() >= checkpointAfterMs_ &&
      (checkpointWanted_ || bytesSinceCheckpoint_ >= every ||
       (spaceShort && segments_.countOf(SegmentState::kFreed) > 0 && !freeing_))) {
    checkpointing_ = true;
    checkpointWanted_ = false;
    spawn(checkpointTask());
  }
  if (!compacting_ && !closing_ && spaceShort &&
      (usersWait() || options_.nowMs() >= compactAfterMs_)) {
    compacting_ = true;
    spawn(compactTask());
  }
  if (!expiring_ && !closing_ && tombstones_ > 0 && expiryDue()) {
    expiring_ = true;
    spawn(expire());
  }
  if (anyWaiting()) {
    drainWaiting();
    if (anyWaiting()) prepareMore(SpaceClass::kUser);
    for (const SpaceClass space :
         {SpaceClass::kUser, SpaceClass::kSystem, SpaceClass::kCompaction}) {
      if (waitingOf(space).empty() || !hopeless(space)) continue;
      if (space != SpaceClass::kCompaction) {
        full_ = true;
        ++counters_.fullRefusals;
      }
      failWaiting(Status::kFull, space);
    }
  } else if (ready_.empty() && !open_) {
    prepareMore(SpaceClass::kUser);
  }
}

Stats Store::stats() const {
  Stats stats;
  stats.segmentBytes = segments_.segmentBytes();
  stats.segments = segments_.count();
  stats.capacityBytes = stats.segmentBytes * stats.segments;
  uint64_t used = 0, live = 0;
  for (uint32_t i = 0; i < segments_.count(); ++i) {
    const Segment& segment = segments_[i];
    live += segment.liveBytes;
    switch (segment.state) {
      case SegmentState::kUncreated:
      case SegmentState::kFree:
        ++stats.freeSegments;
        break;
      case SegmentState::kOpen:
      case SegmentState::kReady:
      case SegmentState::kPreparing:
        used += static_cast<uint64_t>(segment.used) * kBlockBytes;
        break;
      default:
        used += stats.segmentBytes;
    }
  }
  stats.usedBytes = used;
  stats.liveBytes = live;
  const uint64_t reserved = 2ULL * checkpointNeed() + 2;
  const uint64_t usable =
      stats.segments > reserved ? (stats.segments - reserved) * segments_.usableBytes() : 0;
  stats.freeBytes = usable > live ? usable - live : 0;
  stats.shards = shards_;
  stats.tombstones = tombstones_;
  stats.owners = owners_.withState();
  stats.degraded = degraded_.size();
  stats.indexBytes = index_.memoryBytes();
  stats.inFlight = inFlight_;
  stats.state = failed_     ? StoreState::kFailed
                : readOnly_ ? StoreState::kReadOnly
                : full_     ? StoreState::kFull
                            : StoreState::kOk;
  return stats;
}

std::string Store::describe() const {
  std::ostringstream text;
  text << "states";
  for (uint8_t i = 0; i <= static_cast<uint8_t>(SegmentState::kCheckpoint); ++i) {
    text << ' ' << segments_.countOf(static_cast<SegmentState>(i));
  }
  text << " need " << checkpointNeed() << " waiting " << waiting_[0].size() << '+'
       << waiting_[1].size() << '+' << waiting_[2].size() << " ready " << ready_.size()
       << (open_ ? " open" : "") << (preparing_ ? " preparing" : "")
       << (checkpointing_ ? " checkpointing" : "") << (compacting_ ? " compacting" : "")
       << (freeing_ ? " freeing" : "") << (failed_ ? " failed" : "")
       << (superBusy_ ? " superblock" : "") << " victim "
       << (pickVictim() ? static_cast<int64_t>(*pickVictim()) : -1) << " tasks " << tasks_;
  for (uint32_t i = 0; i < segments_.count(); ++i) {
    const Segment& segment = segments_[i];
    text << '\n'
         << i << ": state " << static_cast<int>(segment.state) << " used " << segment.used
         << " live " << segment.liveBytes / kBlockBytes << (segment.stuck ? " stuck" : "");
  }
  return text.str();
}

void Store::close(Done done) {
  if (closing_) {
    done(Status::kClosed, 0);
    return;
  }
  closing_ = true;
  closeDone_ = done;
  ++tasks_;
  spawn(closeTask());
}

Co<> Store::closeTask() {
  // In flight: callers' operations, background records, and tasks other than this one.
  while ((inFlight_ > 0 || tasks_ > 1) && !stopping_) co_await idle_.wait();
  Status status = stopping_ ? Status::kClosed : Status::kOk;
  if (status == Status::kOk && !failed_ && !readOnly_) {
    if (open_) {
      const uint32_t index = *open_;
      sealOpen();
      while (segments_[index].state == SegmentState::kSealing && !failed_ && !stopping_) {
        co_await idle_.wait();
      }
    }
    bool good = !failed_ && !stopping_;
    if (good) good = co_await writeCheckpoint();
    if (good) {
      super_.clean = 1;
      good = co_await saveSuperblock();
    }
    status = good ? Status::kOk : Status::kFailed;
  } else if (status == Status::kOk) {
    status = failed_ ? Status::kFailed : Status::kReadOnly;
  }
  --tasks_;
  closed_ = true;
  const Done done = closeDone_;
  closeDone_ = {};
  done(status, 0);
}

}  // namespace nabu::store
