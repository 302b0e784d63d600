#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "volume/core/image_journal.h"
#include "volume/core/log_image.h"
#include "volume/core/overlay.h"
#include "volume/core/radix_map.h"
#include "volume/core/read_ahead.h"
#include "volume/core/read_cache.h"
#include "volume/core/request.h"
#include "volume/core/types.h"
#include "volume/core/write_ring.h"

namespace nabu::volume {

enum class SealReason : std::uint8_t { kFirst = 0, kFlush = 1, kBytes = 2, kSpace = 3 };

struct FetchWanted {
  std::uint64_t id;
  std::uint64_t sequence;
  std::uint32_t block;
  std::uint32_t count;
  bool prefetch;
};

// What the core asks of its surroundings. Called from any thread, without locks held; must not call
// back.
class VolumeEvents {
 public:
  virtual ~VolumeEvents() = default;
  virtual void sealWanted(SealReason reason, std::uint64_t pendingBytes) = 0;
  virtual void fetch(std::span<const FetchWanted> fetches) = 0;
  virtual void checkpointWanted(std::size_t dirtyPages, bool blocked) = 0;
};

struct VolumeOptions {
  VolumeId volumeId{};
  std::uint64_t sizeBytes = 0;
  std::size_t readCacheBytes = 0;
  std::size_t mapCacheBytes = 0;
  // A memfd for the read cache, from its start on; -1: memory of its own.
  int scratchFd = -1;
  std::uint64_t ioTimeoutMs = 0;
  std::uint64_t sealBytes = 0;
  bool readOnly = false;
};

struct Sealed {
  std::size_t lengthBytes = 0;
  std::uint32_t payloadBlocks = 0;
  std::uint32_t entryCount = 0;
  bool more = false;
  bool last = false;  // of a checkpoint
};

struct Victim {
  std::uint64_t sequence;
  std::uint32_t liveBlocks;
  std::uint32_t totalBlocks;
};

enum class FetchOutcome { kOk, kLost, kRetry };

struct StagedCounts {
  std::size_t added = 0;
  std::size_t total = 0;
};

// Counters of the request paths; each on its own, no order between them.
struct VolumeCounters {
  std::atomic<std::uint64_t> reads{0}, writes{0}, flushes{0}, trims{0}, readBytes{0},
      writtenBytes{0};
  std::atomic<std::uint64_t> ringBlocks{0}, cacheBlocks{0}, holeBlocks{0}, missBlocks{0},
      prefetchedBlocks{0};
  std::atomic<std::uint64_t> timedOut{0}, ioErrors{0}, resent{0}, resentDone{0};
};

struct VolumeStats {
  std::size_t fetchesInFlight, waitingReads, waitingWrites, waitingFlushes;
  std::uint64_t oldestWaitMs, ringBytes, ringUsedBytes, unsealedBytes;
  std::size_t imagesInFlight;
  std::uint64_t committedSequence, appliedSequence, checkpointSequence, coveredSequence;
  std::size_t mapPages, dirtyPages, cacheCapacityBlocks, cacheUsedBlocks;
  std::uint64_t liveBlocks, totalBlocks, knownSequences, sizeBytes;
};

// A log-structured volume: the ring's records over the map over the log (LSVD, EuroSys 2022).
//
// Threads: the calls of the request path come from any thread that names its own reader slot
// (0..WriteRing::kReaders-1); everything else comes from one thread, the owner.
// Locks: ioMutex_ (what waits and what is being fetched) before mapMutex_ (overlay, map, usage).
class Volume {
 public:
  static Result<std::unique_ptr<Volume>> open(const VolumeOptions& options, int ringFd,
                                              VolumeEvents& events);
  ~Volume();
  Volume(const Volume&) = delete;
  Volume& operator=(const Volume&) = delete;

  // Request path. try*: answered at once or not at all. The others answer through the sink, at once
  // or later.
  static constexpr int kMustWait = -1;
  /** 0 = done, an errno, or kMustWait. count <= kMaxRequestBlocks. */
  int tryRead(std::uint64_t block, std::uint32_t count, std::byte* to, int reader);
  void read(Request& request, int reader);
  /** resent: the kernel has asked for this before; nothing is done when its effect is there
   * already. */
  int tryWrite(const Request& request, bool resent);
  void write(Request& request);
  int tryFlush();
  void flush(Request& request);
  /** Answers what waits longer than the limit with EIO. */
  void expire(std::uint64_t nowNs);
  std::uint64_t ioTimeoutNs() const { return ioTimeoutNs_.load(std::memory_order_relaxed); }

  std::uint64_t sizeBytes() const { return sizeBytes_.load(std::memory_order_relaxed); }
  bool readOnly() const { return options_.readOnly; }
  VolumeCounters& counters() { return counters_; }

  // Opening, in this order.
  void loadRoot(std::span<const std::byte> image,
                std::function<void(Result<RootRecord>, std::uint64_t known)> done);
  /** What the journal in shared memory has of the images above the root, if `last`, the writer of
   * the newest history, wrote it; without that it is emptied. */
  struct Resumed {
    std::uint64_t throughSequence = 0;  // that of the root when there is nothing
    std::vector<std::pair<std::uint64_t, std::size_t>> images;  // sequence, bytes
  };
  void resumeJournal(JournalEpoch last, std::function<void(Result<Resumed>)> done);
  void applyImage(std::span<const std::byte> image, std::function<void(Status)> done);
  /** From now on the journal is that of this writer: its opening is recorded. */
  void claimJournal(JournalEpoch epoch) { journal_.claim(epoch); }
  struct Reapplied {
    std::uint64_t entries = 0;
    std::uint64_t bytes = 0;
  };
  Result<Reapplied> reapplyRing();

  // Serving.
  std::uint64_t unsealedBytes() const { return unsealedBytes_.load(); }
  /** The next write is announced with kFirst, once. What is unsealed now may not be any more. */
  std::uint64_t watchWrites() {
    firstAsked_.store(false);
    return unsealedBytes_.load();
  }
  Result<std::optional<Sealed>> seal(std::span<std::byte> image, const Position& position);
  Status commit(std::uint64_t sequence);
  Status fetched(std::uint64_t id, const std::byte* bytes, std::size_t room, FetchOutcome outcome);
  Result<bool> beginCheckpoint();
  Result<Sealed> nextCheckpointImage(std::span<std::byte> image, const Position& position);
  /** The last checkpoint is what openers begin with from now on. */
  void checkpointPublished();
  std::vector<Victim> pickVictims(std::size_t max, double utilisation, std::uint32_t smallBlocks);
  void stageClean(std::span<const std::byte> image, std::function<void(Result<StagedCounts>)> done);
  Result<std::optional<Sealed>> cleanImage(std::span<std::byte> image, const Position& position);
  std::vector<std::uint64_t> deletable(std::size_t max);
  void forget(std::span<const std::uint64_t> sequences);
  Status resize(std::uint64_t sizeBytes);
  void setIoTimeout(std::uint64_t timeoutMs) { ioTimeoutNs_.store(timeoutMs * 1'000'000); }
  VolumeStats stats();
  /** How many blocks a fetch asked for; 0 = no such fetch (any more). */
  std::uint32_t fetchBlocks(std::uint64_t id);
  /** Every request that waits and every later one gets EIO: what is here may be out of date
   * (another writer has the volume). */
  void fail();
  /** Answers what waits with ECANCELED and lets go of it. The ring keeps its records. */
  void close();

  /** Compares the usage tree with what the map says; for tests, needs everything in memory. */
  bool usageIsExact();

 private:
  struct Piece {
    Entry entry;
    std::uint64_t ringIndex = 0;
    std::uint64_t ringPosition = 0;
    std::uint64_t recordBlock = 0;   // of the whole record, which may go on in the next image
    std::uint64_t recordBlocks = 0;  // 0 = at replay: no record
    bool endsRecord = false;
  };
  struct Image {
    ImageKind kind = ImageKind::kLog;
    std::uint64_t sequence = 0;
    std::uint32_t payloadBlocks = 0;
    bool hasRoot = false;
    bool pagesLive = true;      // map pages belong to a checkpoint that counts
    std::uint64_t ringEnd = 0;  // records before this are wholly in this image or earlier ones
    std::vector<Piece> pieces;
    std::vector<std::byte> header;  // for the journal, when it is committed
    std::function<void(Status)> done;
    // How far the map has it.
    std::size_t piece = 0;
    std::uint64_t within = 0;
    bool begun = false;
  };
  struct Waiter {
    Request* request;
    std::uint32_t from;  // block of the fetch
    std::uint32_t count;
    std::byte* to;
  };
  enum class PageOf : std::uint8_t { kNone, kMap, kUsage };
  struct Fetch {
    FetchWanted wanted;
    PageOf pageOf = PageOf::kNone;
    PageNeed page;
    bool forOwner = false;  // applying, loading or cleaning waits for it
    std::vector<Waiter> waiters;
    std::vector<Request*> lookups;  // to be looked up again when the page is here
  };
  struct Staged {
    std::uint64_t block;
    Location old;
    std::uint32_t slot;
  };
  struct CleanJob {
    ParsedImage image;
    std::span<const std::byte> bytes;
    std::function<void(Result<StagedCounts>)> done;
    std::size_t entry = 0;
    std::uint32_t within = 0;
    std::size_t added = 0;
  };
  struct LoadJob {
    RootRecord root;
    std::uint64_t rootSequence;
    std::function<void(Result<RootRecord>, std::uint64_t)> done;
  };

  Volume(const VolumeOptions& options, std::unique_ptr<WriteRing> ring, VolumeEvents& events);

  // volume_read.cc
  class PinnedRead;
  static constexpr std::uint64_t kInRing = std::uint64_t{1} << 63;
  bool resolve(std::uint64_t block, std::uint32_t count, std::uint64_t* places, PageNeed& need);
  bool resolveLocked(std::uint64_t block, std::uint32_t count, std::uint64_t* places,
                     PageNeed& need);
  void lookUp(Request& request, int reader);
  void attachMisses(Request& request, const std::uint64_t* places, const bool* missing,
                    std::vector<FetchWanted>& wanted);
  void waitForPage(PageOf of, const PageNeed& need, Request* request,
                   std::vector<FetchWanted>& wanted);
  Fetch& newFetch(Location location, std::uint32_t count, bool prefetch,
                  std::vector<FetchWanted>& wanted);
  void dropFetch(Fetch& fetch);
  void finishPart(Request& request, bool copied, FetchOutcome outcome, std::vector<Request*>& again,
                  std::vector<Request*>& finished);
  void settleRead(Request& request, int error);
  void readAhead(std::uint64_t block, std::uint32_t count);
  void readAheadOf(std::uint64_t block, std::uint32_t count);
  void pageFetched(Fetch fetch, const std::byte* bytes, FetchOutcome outcome);

  // volume_write.cc
  template <class Late>
  std::size_t giveUp(Late&& late);
  int record(const Request& request);
  void sealIfWanted(bool flush);
  void retryWrites();
  void answerFlushes();
  bool seenBefore(std::uint64_t unique) const;

  // volume_seal.cc, volume_apply.cc, volume_open.cc, volume_checkpoint.cc
  Status checkImageCall(std::span<std::byte> image, const Position& position) const;
  Status takeForReplay(ParsedImage parsed, std::function<void(Status)> done);
  void runApply();
  bool applySome(Image& image, PageNeed& need);
  bool applyPiece(Image& image, const Piece& piece, int& budget, PageNeed& need);
  void finishApplied(Image& image);
  void prefetchLeaves(const Image& image, std::vector<FetchWanted>& wanted);
  void cacheWritten(const Image& image);
  void usageAdd(std::uint64_t sequence, std::int32_t live);
  void usageOpen(std::uint64_t sequence, std::uint32_t total);
  void runOwnerWork();
  void runLoad();
  void finishCheckpoint(const Image& image);

  // volume_clean.cc
  void runClean();
  std::optional<bool> cleanSome(CleanJob& job, PageNeed& need);

  const VolumeOptions options_;
  VolumeEvents& events_;
  std::unique_ptr<WriteRing> ring_;
  ImageJournal journal_;
  ReadCache cache_;
  ReadAhead readAhead_;
  VolumeCounters counters_;
  std::atomic<std::uint64_t> sizeBytes_;
  std::atomic<std::uint64_t> ioTimeoutNs_;
  bool closed_ = false;
  std::atomic<bool> failed_{false};

  std::mutex mapMutex_;
  Overlay overlay_;
  RadixMap map_;
  RadixMap usage_;
  std::uint64_t liveBlocks_ = 0;
  std::uint64_t totalBlocks_ = 0;
  std::uint64_t knownSequences_ = 0;
  std::uint64_t applyingSequence_ = 0;
  std::set<std::uint64_t> dead_;  // nothing live as of what is applied

  mutable std::mutex ioMutex_;
  FlatMap<Fetch*> inFlight_;       // by location of each block
  FlatMap<Fetch*> pagesInFlight_;  // by location of the page
  FlatMap<std::unique_ptr<Fetch>> fetches_;
  std::uint64_t nextFetchId_ = 1;
  std::size_t prefetching_ = 0;  // blocks
  RequestList waitingReads_;
  RequestList waitingWrites_;
  RequestList waitingFlushes_;
  std::atomic<std::size_t> readsWaiting_{0};
  std::atomic<std::size_t> writesWaiting_{0};

  // Sealing. unsealedBytes_ counts published bytes that no image has.
  std::atomic<std::uint64_t> unsealedBytes_{0};
  std::atomic<bool> sealAsked_{false};
  std::atomic<bool> firstAsked_{false};
  std::atomic<bool> flushWaits_{false};
  std::atomic<std::uint64_t> durableEnd_{0};  // records before this are durable
  std::atomic<std::uint64_t> sealIndex_{0};   // next record to seal, and how much of it has been
  std::uint64_t sealWithin_ = 0;
  std::set<std::uint64_t> holes_;  // reserved by a server that died, never published
  std::vector<std::uint64_t> seenUniques_;

  // The owner's.
  std::deque<Image> unacknowledged_;
  std::deque<Image> applying_;
  std::uint64_t lastSequence_ = 0;
  std::uint64_t committedSequence_ = 0;
  std::uint64_t appliedSequence_ = 0;
  std::uint64_t replayedRingEnd_ = 0;
  bool applyStuck_ = false;
  bool checkpointAsked_ = false;
  bool journalAsked_ = false;
  std::uint64_t changes_ = 0;  // since the last checkpoint began
  bool checkpointing_ = false;
  std::uint64_t checkpointId_ = 0;  // of the one being made
  std::uint64_t checkpointCovers_ = 0;
  std::uint64_t coveredSequence_ = 0;  // of the durable one
  std::uint64_t checkpointSequence_ = 0;
  std::uint64_t loadedCheckpointId_ = 0;
  std::vector<std::uint64_t> dyingNext_;  // dead as of the checkpoint being made
  std::set<std::uint64_t> deletable_;
  FlatMap<std::uint32_t>
      usagePagesIn_;  // sequence -> usage pages and root of the durable checkpoint
  FlatMap<std::uint32_t> usagePagesNext_;
  std::optional<LoadJob> load_;
  std::deque<CleanJob> cleaning_;
  std::vector<Staged> staged_;
  std::vector<std::byte> stagedBytes_;
};

}  // namespace nabu::volume
