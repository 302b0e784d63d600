#include "store/test/harness.h"

namespace nabu::store::test {

TEST_CASE("a stored shard is found, read whole and in ranges, and survives a clean restart") {
  Rig rig;
  rig.reopen();
  Shard shard(1, 16, stampAt(1));
  CHECK(rig.lookup(1) == Status::kAbsent);
  CHECK(rig.append(shard) == Status::kOk);
  CHECK(rig.append(shard) == Status::kExists);
  size_t count = 0;
  CHECK(rig.lookup(1, UINT64_MAX, &count) == Status::kOk);
  CHECK(count == 1);
  CHECK(rig.read(shard) == Status::kOk);
  CHECK(rig.read(shard, 4096, 8192) == Status::kOk);
  CHECK(rig.close() == Status::kOk);
  rig.reopen();
  CHECK(rig.store->counters().rebuiltRecords == 0);
  CHECK(rig.read(shard) == Status::kOk);
  CHECK(rig.read(shard, 15 * 4096, 4096) == Status::kOk);
  CHECK(rig.append(shard) == Status::kExists);
  CHECK(rig.remove(1, stampAt(2)) == Status::kOk);
  CHECK(rig.lookup(1) == Status::kAbsent);
  CHECK(rig.append(shard) == Status::kDeleted);
}

TEST_CASE("what was acknowledged survives a crash without any checkpoint") {
  Rig rig;
  rig.reopen();
  std::vector<Shard> shards;
  for (uint64_t i = 0; i < 40; ++i) shards.emplace_back(i, 1 + i % 20, stampAt(i));
  for (Shard& shard : shards) CHECK(rig.append(shard) == Status::kOk);
  CHECK(rig.remove(3, stampAt(100)) == Status::kOk);
  OwnerUpdate update{{3, 1}, 2, true, {1, 2, 3}, std::nullopt};
  CHECK(rig.setOwner(9, update) == Status::kOk);
  rig.crash();
  rig.reopen();
  for (uint64_t i = 0; i < shards.size(); ++i) {
    CHECK(rig.read(shards[i]) == (i == 3 ? Status::kAbsent : Status::kOk));
  }
  const OwnerState* state = rig.store->getOwner(ownerOf(9).data());
  REQUIRE(state != nullptr);
  CHECK(state->fence == WriterEpoch{3, 1});
  CHECK(state->note == std::vector<uint8_t>{1, 2, 3});
}

}  // namespace nabu::store::test
