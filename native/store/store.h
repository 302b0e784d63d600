#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "store/co.h"
#include "store/device.h"
#include "store/format.h"
#include "store/header_cache.h"
#include "store/index.h"
#include "store/owners.h"
#include "store/record_write.h"
#include "store/segments.h"
#include "store/status.h"

namespace nabu::store {

/** Called once from poll when an operation that was kPending ends. `value`: of a read, its bytes.
 */
struct Done {
  void (*call)(void* context, uint64_t token, Status status, uint64_t value) = nullptr;
  void* context = nullptr;
  uint64_t token = 0;
  void operator()(Status status, uint64_t value = 0) const { call(context, token, status, value); }
};

struct StoreOptions {
  Id16 clusterId{};
  std::string nodeId;         // at most 63 bytes
  uint64_t segmentBytes = 0;  // 0: by the size of the device. Counts at format only.
  bool formatIfBlank = false;
  uint64_t tombstoneRetentionMs = 14ULL * 24 * 3600 * 1000;
  uint32_t maxInFlight = 4096;
  uint64_t compactionBytesPerSecond = 64U << 20;  // when space is not short
  // false: each append is durable by itself (RWF_DSYNC); true: several in flight share a flush.
  // Measured in docs/decisions: the first is four times as fast for 256 KiB.
  bool sharedFlushes = false;
  uint64_t checkpointEveryBytes = 0;  // of log; 0: see Store::checkpointEvery
  std::function<uint64_t()> nowMs;    // wall time
  std::function<uint64_t()> random;   // for ids and salts; default: the kernel's
};

enum class OpenErrorCode {
  kForeign,
  kUnknownFormat,
  kNotFormatted,
  kBadArgument,
  kTooSmall,
  kIo,
  kDamaged
};
struct OpenError {
  OpenErrorCode code;
  std::string message;
};

struct ShardSummary {
  uint8_t stripeId[16];
  uint64_t stamp;
  uint32_t blobLength;
  uint32_t shardLength;
  uint8_t shardIndex, k, m;
};

struct ReadRequest {
  const uint8_t* key = nullptr;
  const uint8_t* stripeId = nullptr;  // or any
  uint8_t shardIndex = 255;           // 255: any
  uint64_t rangeOffset = 0;
  uint64_t rangeLength = 0;  // 0: to the end
  uint8_t* payload = nullptr;
  uint64_t payloadCapacity = 0;
  uint8_t* metaOut = nullptr;
  uint64_t metaCapacity = 0;
  uint64_t askStamp = 0;
};

/** A verified range where the device keeps it. */
struct View {
  uint64_t offset = 0;  // on the device, in bytes
  uint64_t lengthBytes = 0;
  uint32_t id = 0;  // for endView
};

struct OwnerUpdate {
  WriterEpoch fence;
  uint64_t homeSetVersion = 0;
  bool hasNote = false;
  std::vector<uint8_t> note;
  std::optional<uint64_t> noteVersion;
};

struct DegradedMark {
  Key key{};
  uint32_t missingMask = 0;
  uint64_t block = 0;  // of its own record; 0: the shard's record says it
};
struct StripeName {
  uint64_t hash, tag;
  std::array<uint8_t, 16> stripeId;
  auto operator<=>(const StripeName&) const = default;
};

struct Counters {
  uint64_t appends = 0, appendBytes = 0, duplicates = 0, deletedAppends = 0, fenced = 0;
  uint64_t reads = 0, readBytes = 0, lookups = 0, deletes = 0, ownerDeletes = 0;
  uint64_t corruptReads = 0, checksumRefusals = 0, readErrors = 0, writeErrors = 0,
           fullRefusals = 0;
  uint64_t flushes = 0, checkpoints = 0, checkpointFailures = 0, segmentsSealed = 0,
           segmentsFreed = 0;
  uint64_t segmentsPrepared = 0, compactedSegments = 0, compactedBytes = 0, sweptShards = 0;
  uint64_t expiredTombstones = 0, lostRanges = 0, rebuiltRecords = 0, tornRecords = 0, openMs = 0;
};

struct Stats {
  StoreState state = StoreState::kOk;
  uint64_t capacityBytes = 0, usedBytes = 0, liveBytes = 0, freeBytes = 0, segmentBytes = 0;
  uint32_t segments = 0, freeSegments = 0;
  uint64_t shards = 0, tombstones = 0, owners = 0, degraded = 0, indexBytes = 0, inFlight = 0;
};

/**
 * The shard store of one device (DESIGN section 9). One thread; every call and every callback is on
 * it. An operation answers at once, or kPending and later through its callback from poll. Memory
 * given to an operation stays untouched until then. Errors leave everything as it was; detail()
 * tells more about the last kBadArgument.
 */
class Store {
 public:
  static std::variant<std::unique_ptr<Store>, OpenError> open(std::unique_ptr<Device> device,
                                                              StoreOptions options);
  /** As a crash would: what is in flight ends (kClosed or its own result), nothing is written for
   * the next start. */
  ~Store();
  Store(const Store&) = delete;

  /** `meta`: ShardMeta and its checksums within metaRoom bytes; payload: 4 KiB aligned. kOk:
   * durable. */
  Status append(const uint8_t* meta, uint64_t metaRoom, const uint8_t* payload,
                uint64_t payloadRoom, Done done);
  Status read(const ReadRequest& request, Done done);
  /** As read does, at once and without copying the payload, on a device that is memory. The bytes
   * stay as they are until endView; close waits for that. */
  Status view(const ReadRequest& request, View& out);
  /** False: there is no such view. */
  bool endView(uint32_t id);
  /** Adds the shards of the key to `out`. Returns kOk (found), kAbsent or kUnknown. */
  Status lookup(const uint8_t* key, uint64_t askStamp, std::vector<ShardSummary>& out,
                uint64_t& deletedStamp);
  void prefetch(const uint8_t* key) const { index_.prefetch(fingerprint(key, super_.salt)); }
  Status remove(const uint8_t* key, uint64_t stamp, Done done);
  Status removeOwnerRange(const uint8_t* owner, OwnerRule rule, Done done);
  Status setOwner(const uint8_t* owner, const OwnerUpdate& update, Done done);
  /** What is durable, or null. */
  const OwnerState* getOwner(const uint8_t* owner);
  /** The fence that refuses, durable or not yet. */
  WriterEpoch fenceOf(const uint8_t* owner);
  const OwnerTable& owners() const { return owners_; }
  Status markDegraded(const uint8_t* key, const uint8_t* stripeId, uint32_t missingMask, Done done);
  const std::map<StripeName, DegradedMark>& degraded() const { return degraded_; }
  StripeName stripeName(const uint8_t* key, const uint8_t* stripeId) const;
  Status setFencesComplete(Done done);
  Status setCompleteSince(uint64_t stamp, Done done);
  /** A checkpoint now, for tests and shutdown. */
  Status checkpoint(Done done);

  /** Refuses what comes from now on, ends what is in flight, seals, writes a checkpoint, marks the
   * device clean. */
  void close(Done done);
  bool closed() const { return closed_; }

  /** Completes what has ended and goes on with background work. Returns how many I/Os completed. */
  size_t poll();
  void kick() { device_->kick(); }
  /** Background work waits for time to pass: call poll again within some 20 ms. */
  bool wantsTick() const { return tick_.hasWaiters() || anyWaiting(); }
  /** There is work that waits for nothing but the next poll. */
  bool wantsPoll() const {
    return device_->ready() || sweeping_ || segments_.anyEmptied() || ownerWanted_ || freeWanted_;
  }
  Device& device() { return *device_; }
  const Superblock& super() const { return super_; }
  const Counters& counters() const { return counters_; }
  const char* detail() const { return detail_; }
  Stats stats() const;
  /** For tests that hang: what waits for what. */
  std::string describe() const;

 private:
  struct AppendWrite;
  struct SmallWrite;
  struct ReadOp;
  struct ShardName {
    uint64_t hash, tag;
    std::array<uint8_t, 16> stripeId;
    uint8_t shardIndex;
    bool operator==(const ShardName&) const = default;
  };
  struct ShardNameHash {
    size_t operator()(const ShardName& name) const {
      return name.hash ^ name.stripeId[0] ^ name.shardIndex;
    }
  };

  Store(std::unique_ptr<Device> device, StoreOptions options);

  // store.cc
  Status refuse(const char* field) {
    detail_ = field;
    return Status::kBadArgument;
  }
  Status writable() const;
  uint64_t newRandom();
  Co<> closeTask();
  void schedule();

  // store_append.cc
  void appendDurable(AppendWrite* write);
  void finishAppend(AppendWrite* write, Status status);
  Status insertShard(AppendWrite* write);
  void answer(const Done& done, Status status, uint64_t value = 0);
  AppendWrite* takeAppend();

  // store_index.cc: index entries with their accounts
  IndexEntry* findShard(const Fingerprint& print, const uint8_t* stripeId, uint8_t shardIndex);
  uint64_t tombstoneStamp(const Fingerprint& print);
  void addEntry(const IndexEntry& entry);
  /** key: of a shard that may be marked degraded, or null. */
  void putShard(const FooterEntry& footer, uint64_t block, const uint8_t* key);
  void dropEntry(IndexEntry* entry);
  void applyTombstone(const Fingerprint& print, uint64_t stamp, uint64_t block);
  void setMark(const StripeName& name, const DegradedMark& mark);
  void dropMark(const StripeName& name);
  void setOwnerState(Owner& owner, const OwnerState& state, uint64_t block);
  void addRule(Owner& owner, OwnerRule rule);
  void dropRule(Owner& owner, size_t index);
  void sweepStep();
  Co<> expire();

  // store_small.cc: records without payload
  SmallWrite* newSmall(const ShardMeta& meta, const void* body, uint32_t bodyLength,
                       SpaceClass space);
  Status admitSmall();
  Status smallResult(const SmallWrite& write) const;
  void tombstoneDurable(SmallWrite* write);
  void ruleDurable(SmallWrite* write);
  void markDurable(SmallWrite* write);
  void applyMark(const StripeName& name, const DegradedMark& mark);
  SmallWrite* ownerWrite(const Owner& owner, const OwnerState& state, SpaceClass space);
  SmallWrite* ruleWrite(const Owner& owner, const OwnerRule& rule, SpaceClass space);
  SmallWrite* markWrite(const DegradedMark& mark, const uint8_t* stripeId, SpaceClass space);
  void ownerDurable(SmallWrite* write);
  void ownerProgress(Owner& owner);

  // store_log.cc: records to segments
  bool roomNow(uint32_t blocks, SpaceClass space) const;
  bool mayWrite(const Segment& segment, SpaceClass space) const;
  Status admit(uint32_t blocks, SpaceClass space);
  void submitRecord(RecordWrite* write);
  bool tryPlace(RecordWrite* write);
  std::deque<RecordWrite*>& waitingOf(SpaceClass space) {
    return waiting_[static_cast<size_t>(space)];
  }
  const std::deque<RecordWrite*>& waitingOf(SpaceClass space) const {
    return waiting_[static_cast<size_t>(space)];
  }
  uint64_t checkpointEvery() const;
  /** A record for room, or a coroutine for a signal. */
  bool anythingWaits() const;
  bool anyWaiting() const {
    return !waiting_[0].empty() || !waiting_[1].empty() || !waiting_[2].empty();
  }
  bool usersWait() const { return !waitingOf(SpaceClass::kUser).empty(); }
  void place(RecordWrite* write);
  static void recordWritten(IoRequest* io);
  void recordEnded(RecordWrite* write);
  bool buried(const Fingerprint& print, uint64_t stamp);
  void startFlush();
  void drainWaiting();
  void failWaiting(Status status, SpaceClass space);
  void failAllWaiting(Status status);
  void deviceFailed(int error);
  bool mayTake(SpaceClass space) const;
  uint32_t takeable() const;
  uint32_t checkpointNeed() const;
  bool hopeless(SpaceClass space) const;
  void prepareMore(SpaceClass space);
  Co<> prepareSegment(SpaceClass demand);
  Co<std::optional<uint32_t>> takeSegment(SegmentUse use, uint64_t checkpointId);
  Co<int> writeZeros(uint32_t index);
  void sealOpen();
  Co<> sealSegment(uint32_t index);
  Co<bool> writeFooter(uint32_t index);
  Co<bool> writeSegmentHeader(uint32_t index, SegmentUse use, uint64_t checkpointId);
  Co<bool> saveSuperblock();
  uint64_t durableUpTo() const { return inFlightBase_; }

  // store_read.cc
  Status pick(const ReadRequest& request, const Fingerprint& print, const IndexEntry*& best,
              uint64_t& length);
  void endRead(uint32_t segment);
  static void readDone(IoRequest* io);
  void finishRead(ReadOp* op);
  void markCorrupt(const Fingerprint& print, uint64_t block);

  // store_open.cc, store_replay.cc
  struct HeaderScan {
    uint32_t next = 0;
    uint32_t readers = 0;
    Signal ended;
    std::vector<uint32_t> lost;
  };
  struct Replay {
    uint32_t segment = 0;
    bool lostHeader = false;
    bool scanned = false;
    bool unreadable = false;
    uint64_t durableUpTo = 0;
    uint64_t nextSequence = 0;
    std::vector<FooterEntry> entries;
  };
  class SegmentReader;
  Co<> openTask();
  Co<bool> openSteps();
  Co<bool> format();
  Co<bool> recover();
  Co<> headerReader(HeaderScan& scan);
  Co<bool> replay(std::vector<Replay>& replays, uint64_t fromSequence);
  Co<bool> readFooter(Replay& replay);
  Co<> scanSegment(Replay& replay);
  Co<bool> applyRecord(uint32_t segment, FooterEntry entry);
  Co<bool> readHeader(uint32_t segment, uint32_t block, AlignedBuffer& out);
  void failOpen(OpenErrorCode code, std::string message);

  // store_checkpoint.cc
  class CheckpointWriter;
  Co<bool> writeCheckpoint();
  Co<bool> writeSections(CheckpointWriter& writer);
  Co<bool> loadCheckpoint(std::vector<CheckpointSegment>& table);
  bool loadChunk(const ChunkHeader& header, const uint8_t* bytes,
                 std::vector<CheckpointSegment>& table);
  void recountIndex();
  Co<> checkpointTask();
  Co<> freeSegments();

  // store_compact.cc
  std::optional<uint32_t> pickVictim() const;
  Co<> compactTask();
  enum class Compacted { kDone, kNoRoom, kUnreadable };
  Co<Compacted> compactSegment(uint32_t index);
  Co<Compacted> compactRecord(uint32_t index, FooterEntry entry);
  Co<Compacted> copyRecord(uint32_t index, FooterEntry entry);
  IndexEntry* entryAt(const Fingerprint& print, uint64_t block);
  bool expiryDue() const;
  bool expiredStamp(uint64_t stamp) const;
  bool oldestSegment(uint32_t index) const;
  bool live(uint32_t index, const FooterEntry& entry);

  std::unique_ptr<Device> device_;
  std::shared_ptr<const uint8_t[]> mapped_;  // the device as memory, or null
  StoreOptions options_;
  Superblock super_{};
  Counters counters_;
  const char* detail_ = "";

  Index index_;
  OwnerTable owners_;
  std::map<StripeName, DegradedMark> degraded_;
  SegmentTable segments_;
  HeaderCache headers_;
  uint64_t shards_ = 0, tombstones_ = 0;
  uint64_t ruleBytes_ = 0;        // of all owner tombstones, in a checkpoint
  bool checkpointStuck_ = false;  // the last one did not find the segments it needs
  uint64_t checkpointAfterMs_ = 0;

  // The log. Invariant: at most one open segment; segments are used in the order of their
  // generations.
  std::optional<uint32_t> open_;
  std::deque<uint32_t> ready_;
  uint64_t nextGeneration_ = 1, nextSequence_ = 1;
  uint64_t inFlightBase_ = 1;                        // all records below have ended
  std::deque<bool> inFlightEnded_;                   // from inFlightBase_ on
  std::array<std::deque<RecordWrite*>, 3> waiting_;  // for a segment, by SpaceClass, each in order
  std::vector<RecordWrite*> unflushed_, flushing_;
  struct Flush : IoRequest {
    Store* store = nullptr;
  } flushIo_;
  uint32_t writesInFlight_ = 0;
  uint64_t bytesSinceCheckpoint_ = 0;
  bool preparing_ = false;

  // Operations.
  std::vector<std::unique_ptr<AppendWrite>> appendPool_;
  std::vector<AppendWrite*> freeAppends_;
  std::vector<std::unique_ptr<ReadOp>> readPool_;
  std::vector<ReadOp*> freeReads_;
  static constexpr uint32_t kNoView = UINT32_MAX;
  std::vector<uint32_t> views_;  // the segment that each looks at, or kNoView
  std::vector<uint32_t> freeViews_;
  std::unordered_map<ShardName, AppendWrite*, ShardNameHash> appending_;
  std::map<Id16, std::vector<AppendWrite*>> awaitingFence_;
  struct OwnerWaiter {
    Id16 owner;
    WriterEpoch fence;
    uint64_t homeSetVersion, noteVersion;
    Done done;
    bool reached(const OwnerState& state) const {
      return state.fence >= fence && state.homeSetVersion >= homeSetVersion &&
             state.noteVersion >= noteVersion;
    }
  };
  std::vector<OwnerWaiter> ownerWaiters_;
  bool ownerWanted_ = false;
  uint32_t inFlight_ = 0;

  // Background work.
  int tasks_ = 0;
  Signal tick_, superFree_, segmentFree_, idle_;
  bool superBusy_ = false, checkpointing_ = false, compacting_ = false, expiring_ = false;
  bool checkpointWanted_ = false;
  std::vector<Done> checkpointWaiters_;
  uint64_t checkpointStarted_ = 0;  // id of the newest begun
  bool freeing_ = false, freeWanted_ = false;
  uint64_t sweepCursor_ = 0, sweepLap_ = 0;
  bool sweeping_ = false;
  std::vector<uint32_t> sweptSlots_;
  uint64_t lastExpiryMs_ = 0, expiredTombstoneBytes_ = 0;
  uint64_t compactAfterMs_ = 0;  // no sooner: the last look found nothing

  bool readOnly_ = false, failed_ = false, full_ = false;
  bool hostFull_ = false;  // the file system under the device had no room for a further segment
  bool closing_ = false, closed_ = false, stopping_ = false, opened_ = false;
  Done closeDone_;
  std::optional<OpenError> openError_;
  bool openEnded_ = false;
};

}  // namespace nabu::store
