#pragma once

#include <doctest/doctest.h>

#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "ec/crc32c.h"
#include "store/aligned_buffer.h"
#include "store/store.h"
#include "store/test/fault_device.h"

namespace nabu::store::test {

inline constexpr uint64_t kNowMs = 1'700'000'000'000;
inline uint64_t stampAt(uint64_t ms) { return (kNowMs + ms) << 16; }

inline Key keyOf(uint64_t number) {
  Key key{};
  std::memcpy(key.data(), &number, 8);
  key[31] = 0x5a;
  return key;
}

/** A shard with its checksums and bytes, all from a seed. */
struct Shard {
  std::vector<uint8_t> meta;
  AlignedBuffer payload;

  ShardMeta& head() { return *reinterpret_cast<ShardMeta*>(meta.data()); }
  Shard(uint64_t keyNumber, uint32_t blocks, uint64_t stamp, uint64_t stripe = 1,
        uint8_t shardIndex = 0)
      : payload(static_cast<uint64_t>(blocks) * kBlockBytes) {
    std::mt19937_64 random(keyNumber * 1000003 + stripe * 31 + shardIndex);
    for (uint64_t i = 0; i + 8 <= payload.sizeBytes(); i += 8) payload.as<uint64_t>(i) = random();
    meta.resize(sizeof(ShardMeta) + 4 * blocks);
    ShardMeta& m = head();
    m.magic = kShardMetaMagic;
    m.version = kShardMetaVersion;
    const Key key = keyOf(keyNumber);
    std::copy(key.begin(), key.end(), m.key);
    std::memcpy(m.stripeId, &stripe, 8);
    m.stamp = stamp;
    m.k = 4;
    m.m = 2;
    m.shardIndex = shardIndex;
    m.kind = kShard;
    m.shardLength = blocks * kBlockBytes;
    m.blobLength = 4 * m.shardLength;
    m.crcCount = blocks;
    crc();
  }
  Shard& log(uint64_t owner, WriterEpoch epoch, uint64_t sequence) {
    ShardMeta& m = head();
    m.flags |= kFlagLog;
    std::memcpy(m.owner, &owner, 8);
    m.writerGeneration = epoch.generation;
    m.writerIncarnation = epoch.incarnation;
    m.sequence = sequence;
    return *this;
  }
  void crc() {
    ec::crc32cBlocks(payload.bytes(), head().shardLength,
                     reinterpret_cast<uint32_t*>(meta.data() + sizeof(ShardMeta)));
  }
};

inline Id16 ownerOf(uint64_t number) {
  Id16 id{};
  std::memcpy(id.data(), &number, 8);
  return id;
}

/** A store on a disk that survives it, driven to the end of each call. */
class Rig {
 public:
  explicit Rig(uint64_t diskBytes = 24U << 20, uint64_t segmentBytes = 1U << 20)
      : disk(std::make_shared<Disk>(diskBytes)) {
    options.segmentBytes = segmentBytes;
    options.formatIfBlank = true;
    options.nodeId = "node-1";
    options.clusterId[0] = 7;
    options.nowMs = [this] { return nowMs; };
    options.random = [this] { return random(); };
  }
  std::optional<OpenError> open() {
    store.reset();
    auto made = std::make_unique<FaultDevice>(disk, random());
    device = made.get();
    device->shuffle = shuffle;
    auto result = Store::open(std::move(made), options);
    if (auto* error = std::get_if<OpenError>(&result)) return *error;
    store = std::move(std::get<std::unique_ptr<Store>>(result));
    return std::nullopt;
  }
  /** As a power loss. */
  void crash() {
    device->crash();
    store.reset();
  }
  void reopen() {
    const auto error = open();
    REQUIRE_MESSAGE(!error, (error ? error->message : std::string()));
  }
  Status close() {
    const Status status = run([&](Done done) {
      store->close(done);
      return Status::kPending;
    });
    store.reset();
    return status;
  }
  template <class Call>
  Status run(Call&& call, uint64_t* value = nullptr) {
    struct Answer {
      bool done = false;
      Status status{};
      uint64_t value = 0;
    } answer;
    const Done done{[](void* context, uint64_t, Status status, uint64_t got) {
                      auto* to = static_cast<Answer*>(context);
                      *to = {true, status, got};
                    },
                    &answer, 0};
    const Status status = call(done);
    if (status != Status::kPending) return status;
    for (uint64_t rounds = 0; !answer.done; ++rounds) {
      REQUIRE(rounds < 1'000'000);
      nowMs += 1;
      store->poll();
    }
    if (value != nullptr) *value = answer.value;
    return answer.status;
  }
  Status append(Shard& shard) {
    return run([&](Done done) {
      return store->append(shard.meta.data(), shard.meta.size(), shard.payload.bytes(),
                           shard.payload.sizeBytes(), done);
    });
  }
  Status lookup(uint64_t key, uint64_t ask = UINT64_MAX, size_t* count = nullptr,
                uint64_t* deleted = nullptr) {
    std::vector<ShardSummary> out;
    uint64_t stamp = 0;
    const Status status = store->lookup(keyOf(key).data(), ask, out, stamp);
    if (count != nullptr) *count = out.size();
    if (deleted != nullptr) *deleted = stamp;
    return status;
  }
  /** Reads and compares with the shard. */
  Status read(Shard& shard, uint64_t offset = 0, uint64_t length = 0) {
    AlignedBuffer out(shard.payload.sizeBytes());
    std::vector<uint8_t> meta(sizeof(ShardMeta) + 4 * shard.head().crcCount);
    ReadRequest request;
    request.key = shard.head().key;
    request.stripeId = shard.head().stripeId;
    request.shardIndex = shard.head().shardIndex;
    request.rangeOffset = offset;
    request.rangeLength = length;
    request.payload = out.bytes();
    request.payloadCapacity = out.sizeBytes();
    request.metaOut = meta.data();
    request.metaCapacity = meta.size();
    request.askStamp = UINT64_MAX;
    uint64_t got = 0;
    const Status status = run([&](Done done) { return store->read(request, done); }, &got);
    if (status == Status::kOk) {
      CHECK(got == (length == 0 ? shard.payload.sizeBytes() - offset : length));
      CHECK(std::memcmp(out.bytes(), shard.payload.bytes() + offset, got) == 0);
      const auto& answer = *reinterpret_cast<ShardMeta*>(meta.data());
      CHECK(std::memcmp(answer.key, shard.head().key, 32) == 0);
      CHECK(answer.stamp == shard.head().stamp);
      CHECK(answer.rangeOffset == offset);
      CHECK(answer.crcCount == got / kBlockBytes);
      CHECK(std::memcmp(meta.data() + sizeof answer,
                        shard.meta.data() + sizeof answer + offset / 1024, got / 1024) == 0);
    }
    return status;
  }
  Status remove(uint64_t key, uint64_t stamp) {
    return run([&](Done done) { return store->remove(keyOf(key).data(), stamp, done); });
  }
  Status setOwner(uint64_t owner, const OwnerUpdate& update) {
    return run([&](Done done) { return store->setOwner(ownerOf(owner).data(), update, done); });
  }
  Status removeRange(uint64_t owner, OwnerRule rule) {
    return run(
        [&](Done done) { return store->removeOwnerRange(ownerOf(owner).data(), rule, done); });
  }
  Status checkpoint() {
    return run([&](Done done) { return store->checkpoint(done); });
  }
  void idle(int rounds = 200) {
    for (int i = 0; i < rounds; ++i) {
      nowMs += 50;
      store->poll();
    }
  }

  std::shared_ptr<Disk> disk;
  StoreOptions options;
  std::unique_ptr<Store> store;
  FaultDevice* device = nullptr;
  std::mt19937_64 random{42};
  uint64_t nowMs = kNowMs;
  bool shuffle = true;
};

}  // namespace nabu::store::test
