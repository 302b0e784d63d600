#include "store/test/harness.h"

// Full devices, compaction, recycling, tombstones that may go.

namespace nabu::store::test {
namespace {

constexpr uint64_t kSegment = 128U << 10;
constexpr uint32_t kBlocks = 4;

}  // namespace

TEST_CASE(
    "a full device refuses before it takes data, still deletes, and takes data again after that") {
  Rig rig(5U << 20, kSegment);
  rig.reopen();
  uint64_t stored = 0;
  Status status = Status::kOk;
  for (uint64_t i = 0; status == Status::kOk; ++i) {
    REQUIRE(i < 1000);
    Shard shard(i, kBlocks, stampAt(1));
    status = rig.append(shard);
    if (status == Status::kOk) ++stored;
  }
  CHECK(status == Status::kFull);
  CHECK(rig.store->stats().state == StoreState::kFull);
  // All but the reserve for deletes, compaction and checkpoints is used.
  const Stats stats = rig.store->stats();
  CHECK(stats.liveBytes > (stats.segments - 6) * kSegment * 8 / 10);
  for (uint64_t i = 0; i < stored; ++i) {
    Shard shard(i, kBlocks, stampAt(1));
    REQUIRE(rig.read(shard) == Status::kOk);
  }
  for (uint64_t i = 0; i < stored; i += 2) REQUIRE(rig.remove(i, stampAt(2)) == Status::kOk);
  rig.idle(400);
  CHECK(rig.store->stats().state == StoreState::kOk);
  uint64_t again = 0;
  for (uint64_t i = 0; i < stored / 4; ++i) {
    Shard shard(5000 + i, kBlocks, stampAt(3));
    if (rig.append(shard) == Status::kOk) ++again;
  }
  CHECK(again == stored / 4);
  rig.crash();
  rig.reopen();
  for (uint64_t i = 0; i < stored; ++i) {
    Shard shard(i, kBlocks, stampAt(1));
    REQUIRE(rig.read(shard) == (i % 2 == 0 ? Status::kAbsent : Status::kOk));
  }
  for (uint64_t i = 0; i < again; ++i) {
    Shard shard(5000 + i, kBlocks, stampAt(3));
    REQUIRE(rig.read(shard) == Status::kOk);
  }
}

TEST_CASE(
    "compaction keeps every live record with its stamp, owner states, tombstones and marks "
    "included") {
  Rig rig(6U << 20, kSegment);
  rig.reopen();
  CHECK(rig.setOwner(1, {{3, 1}, 2, true, {4, 5}, std::nullopt}) == Status::kOk);
  Shard marked(900, 2, stampAt(1));
  CHECK(rig.append(marked) == Status::kOk);
  CHECK(rig.run([&](Done done) {
    return rig.store->markDegraded(marked.head().key, marked.head().stripeId, 1, done);
  }) == Status::kOk);
  Shard buried(901, 2, stampAt(1));
  CHECK(rig.remove(901, stampAt(9)) == Status::kOk);
  OwnerRule rule;
  rule.stamp = stampAt(50);
  rule.range = {0, 10};
  CHECK(rig.removeRange(1, rule) == Status::kOk);
  std::vector<Shard> kept;
  for (uint64_t i = 0; i < 30; ++i) {
    kept.emplace_back(i, kBlocks, stampAt(i));
    if (i % 3 == 0) kept.back().log(1, {3, 1}, 100 + i);
    REQUIRE(rig.append(kept.back()) == Status::kOk);
    for (uint64_t j = 0; j < 5; ++j) {  // most of each segment dies
      Shard dead(1000 + i * 10 + j, kBlocks, stampAt(i));
      REQUIRE(rig.append(dead) == Status::kOk);
      REQUIRE(rig.remove(1000 + i * 10 + j, stampAt(i)) == Status::kOk);
    }
  }
  for (uint64_t round = 0; round < 200; ++round) {
    Shard churn(5000 + round, kBlocks, stampAt(round));
    REQUIRE(rig.append(churn) == Status::kOk);
    REQUIRE(rig.remove(5000 + round, stampAt(round)) == Status::kOk);
    rig.idle(3);
  }
  CHECK(rig.store->counters().compactedSegments > 3);
  const auto check = [&] {
    for (Shard& shard : kept) {
      REQUIRE(rig.read(shard) == Status::kOk);
      REQUIRE(rig.read(shard, kBlockBytes, kBlockBytes) == Status::kOk);
    }
    CHECK(rig.append(buried) == Status::kDeleted);
    CHECK(rig.read(marked) == Status::kOk);
    CHECK(rig.store->degraded().size() == 1);
    CHECK(rig.store->getOwner(ownerOf(1).data())->note == std::vector<uint8_t>{4, 5});
    Shard covered(950, 1, stampAt(40));
    covered.log(1, {3, 1}, 7);
    CHECK(rig.append(covered) == Status::kDeleted);
    for (uint64_t i = 0; i < 200; ++i) REQUIRE(rig.lookup(5000 + i) == Status::kAbsent);
  };
  check();
  rig.crash();
  rig.reopen();
  check();
  CHECK(rig.close() == Status::kOk);
  rig.reopen();
  check();
}

TEST_CASE("a corrupt shard stays UNKNOWN when its segment is compacted") {
  Rig rig(3U << 20, 64U << 10);
  rig.reopen();
  Shard rotten(1, 3, stampAt(1));
  REQUIRE(rig.append(rotten) == Status::kOk);
  Shard later(2, 1, stampAt(1));  // without a later record a damaged one is taken for torn
  REQUIRE(rig.append(later) == Status::kOk);
  for (uint64_t at = kDataStart; at < rig.disk->bytes.size(); at += kBlockBytes) {
    const auto& head = *reinterpret_cast<const RecordHeader*>(rig.disk->bytes.data() + at);
    if (head.magic == kRecordMagic && std::memcmp(head.meta.key, rotten.head().key, 32) == 0) {
      rig.crash();
      rig.disk->bytes[at + kBlockBytes + 9] ^= 1;
      rig.reopen();
      break;
    }
  }
  for (uint64_t round = 0; round < 150; ++round) {
    Shard churn(5000 + round, kBlocks, stampAt(round));
    REQUIRE(rig.append(churn) == Status::kOk);
    REQUIRE(rig.remove(5000 + round, stampAt(round)) == Status::kOk);
    rig.idle(5);
  }
  CHECK(rig.store->counters().compactedSegments > 0);
  CHECK(rig.read(rotten) != Status::kOk);
  CHECK(rig.lookup(1) == Status::kUnknown);
  CHECK(rig.append(rotten) == Status::kOk);
  CHECK(rig.read(rotten) == Status::kOk);
}

TEST_CASE("tombstones go when they are old enough and nothing older is left on the device") {
  Rig rig(3U << 20, 64U << 10);
  rig.options.tombstoneRetentionMs = 1000;
  rig.reopen();
  for (uint64_t round = 0; round < 400; ++round) {
    Shard churn(round, kBlocks, rig.nowMs << 16);
    REQUIRE(rig.append(churn) == Status::kOk);
    REQUIRE(rig.remove(round, rig.nowMs << 16) == Status::kOk);
    rig.idle(6);
    if (round % 40 == 0) rig.nowMs += 3'700'000;
  }
  CHECK(rig.store->counters().expiredTombstones > 50);
  CHECK(rig.store->stats().tombstones < 400);
  rig.crash();
  rig.reopen();
  for (uint64_t round = 0; round < 400; ++round) REQUIRE(rig.lookup(round) == Status::kAbsent);
}

TEST_CASE("a full file system under a sparse device is a full device, not a failed one") {
  Rig rig(5U << 20, kSegment);
  rig.disk->room = kDataStart + 14 * kSegment + kSegment / 2;
  rig.reopen();
  uint64_t stored = 0;
  Status status = Status::kOk;
  for (uint64_t i = 0; status == Status::kOk && i < 1000; ++i) {
    Shard shard(i, kBlocks, stampAt(1));
    status = rig.append(shard);
    if (status == Status::kOk) ++stored;
  }
  CHECK(status == Status::kFull);
  CHECK(rig.store->stats().state == StoreState::kFull);
  CHECK(rig.remove(0, stampAt(2)) == Status::kOk);
  CHECK(rig.close() == Status::kOk);
  rig.disk->room = UINT64_MAX;
  rig.reopen();
  for (uint64_t i = 1; i < stored; ++i) {
    Shard shard(i, kBlocks, stampAt(1));
    REQUIRE(rig.read(shard) == Status::kOk);
  }
  Shard more(2000, kBlocks, stampAt(3));
  CHECK(rig.append(more) == Status::kOk);
}

TEST_CASE("a record larger than a segment is refused as such") {
  Rig rig(3U << 20, 64U << 10);
  rig.reopen();
  Shard large(1, 16, stampAt(1)), largest(2, 12, stampAt(1));
  CHECK(rig.append(large) == Status::kTooLarge);
  CHECK(rig.append(largest) == Status::kOk);
}

TEST_CASE("restarts without end do not use up the device") {
  Rig rig(5U << 20, kSegment);
  rig.reopen();
  Shard shard(1, kBlocks, stampAt(1));
  REQUIRE(rig.append(shard) == Status::kOk);
  for (uint64_t round = 0; round < 120; ++round) {
    Shard more(10 + round % 20, 1, stampAt(2 + round));
    REQUIRE(rig.append(more) != Status::kFull);
    rig.idle(5);
    if (round % 3 == 0) {
      REQUIRE(rig.close() == Status::kOk);
    } else {
      rig.crash();
    }
    rig.reopen();
  }
  CHECK(rig.read(shard) == Status::kOk);
}

}  // namespace nabu::store::test
