#include "store/test/harness.h"

// Fences, notes, owner tombstones and degraded marks.

namespace nabu::store::test {
namespace {

OwnerUpdate fenceOnly(uint64_t generation, uint64_t incarnation) {
  OwnerUpdate update;
  update.fence = {generation, incarnation};
  return update;
}

struct Answer {
  bool ended = false;
  Status status{};
  Done done() {
    return {[](void* context, uint64_t, Status status, uint64_t) {
              auto* to = static_cast<Answer*>(context);
              to->ended = true;
              to->status = status;
            },
            this, 0};
  }
};

OwnerRule wholeRule(uint64_t stamp) {
  OwnerRule rule;
  rule.stamp = stamp;
  return rule;
}

}  // namespace

TEST_CASE(
    "log appends below the fence are refused from the call on, and setOwner waits for those in "
    "flight") {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    Rig rig;
    rig.random.seed(seed);
    rig.reopen();
    CHECK(rig.setOwner(1, fenceOnly(1, 1)) == Status::kOk);
    std::vector<Shard> shards;
    for (uint64_t i = 0; i < 6; ++i) shards.emplace_back(i, 3, stampAt(i)).log(1, {1, 1}, i);
    std::vector<Answer> answers(6);
    for (size_t i = 0; i < 5; ++i) {
      REQUIRE(rig.store->append(shards[i].meta.data(), shards[i].meta.size(),
                                shards[i].payload.bytes(), shards[i].payload.sizeBytes(),
                                answers[i].done()) == Status::kPending);
    }
    Answer fenced;
    REQUIRE(rig.store->setOwner(ownerOf(1).data(), fenceOnly(2, 1), fenced.done()) ==
            Status::kPending);
    CHECK(rig.append(shards[5]) == Status::kFenced);
    while (!fenced.ended) rig.store->poll();
    for (size_t i = 0; i < 5; ++i) {
      CHECK(answers[i].ended);
      CHECK(answers[i].status == Status::kOk);
    }
    CHECK(rig.append(shards[5]) == Status::kFenced);
    rig.crash();
    rig.reopen();
    CHECK(rig.append(shards[5]) == Status::kFenced);
    CHECK(rig.store->getOwner(ownerOf(1).data())->fence == WriterEpoch{2, 1});
  }
}

TEST_CASE("an append of a higher epoch is acknowledged only with its fence durable") {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    CAPTURE(seed);
    Rig rig;
    rig.random.seed(seed);
    rig.reopen();
    Shard shard(1, 2, stampAt(1));
    shard.log(1, {5, 3}, 1);
    Answer answer;
    REQUIRE(rig.store->append(shard.meta.data(), shard.meta.size(), shard.payload.bytes(),
                              shard.payload.sizeBytes(), answer.done()) == Status::kPending);
    for (uint64_t i = 0; i < seed % 10; ++i) rig.store->poll();
    const bool acknowledged = answer.ended && answer.status == Status::kOk;
    rig.crash();
    rig.reopen();
    if (acknowledged) {
      const OwnerState* state = rig.store->getOwner(ownerOf(1).data());
      REQUIRE(state != nullptr);
      CHECK(state->fence == WriterEpoch{5, 3});
      CHECK(rig.read(shard) == Status::kOk);
    }
  }
}

TEST_CASE(
    "fence and home set version never go down, and a note is taken only from who is not fenced") {
  Rig rig;
  rig.reopen();
  OwnerUpdate update{{4, 2}, 7, true, {1}, 10};
  CHECK(rig.setOwner(1, update) == Status::kOk);
  CHECK(rig.setOwner(1, {{3, 9}, 9, true, {2}, 99}) == Status::kOk);
  const OwnerState* state = rig.store->getOwner(ownerOf(1).data());
  CHECK(state->fence == WriterEpoch{4, 2});
  CHECK(state->homeSetVersion == 9);
  CHECK(state->note == std::vector<uint8_t>{1});
  CHECK(rig.setOwner(1, {{4, 2}, 0, true, {3}, 10}) == Status::kOk);
  CHECK(rig.store->getOwner(ownerOf(1).data())->note == std::vector<uint8_t>{1});
  CHECK(rig.setOwner(1, {{4, 2}, 0, true, {3}, 11}) == Status::kOk);
  CHECK(rig.store->getOwner(ownerOf(1).data())->note == std::vector<uint8_t>{3});
  CHECK(rig.setOwner(1, {{4, 3}, 0, true, {4}, std::nullopt}) == Status::kOk);
  CHECK(rig.store->getOwner(ownerOf(1).data())->noteVersion == 12);
  OwnerUpdate tooLong{{4, 3}, 0, true, std::vector<uint8_t>(kMaxNoteBytes + 1), std::nullopt};
  CHECK(rig.setOwner(1, tooLong) == Status::kBadArgument);
}

TEST_CASE(
    "an owner tombstone covers its range at once, keeps pins and younger records, and gives the "
    "space back") {
  Rig rig;
  rig.reopen();
  std::vector<Shard> shards;
  for (uint64_t i = 0; i < 60; ++i) {
    shards.emplace_back(i, 2, stampAt(i)).log(1, {1 + i / 30, 1}, i);
    REQUIRE(rig.append(shards.back()) == Status::kOk);
  }
  Shard other(100, 2, stampAt(1));
  other.log(2, {1, 1}, 5);
  CHECK(rig.append(other) == Status::kOk);
  OwnerRule rule;
  rule.stamp = stampAt(100);
  rule.generation = 1;
  rule.range = {5, 100};
  rule.pins = {{10, 12}, {20, 20}};
  CHECK(rig.removeRange(1, rule) == Status::kOk);
  const auto kept = [](uint64_t i) { return i < 5 || (i >= 10 && i <= 12) || i == 20 || i >= 30; };
  const auto check = [&] {
    for (uint64_t i = 0; i < 60; ++i) {
      CAPTURE(i);
      CHECK(rig.lookup(i) == (kept(i) ? Status::kOk : Status::kAbsent));
      CHECK(rig.read(shards[i]) == (kept(i) ? Status::kOk : Status::kAbsent));
      const Status again = kept(i) ? Status::kExists : Status::kDeleted;
      CHECK(rig.append(shards[i]) == (i < 30 ? Status::kFenced : again));
    }
    CHECK(rig.lookup(100) == Status::kOk);
  };
  check();
  rig.idle();
  CHECK(rig.store->stats().shards == 40);
  CHECK(rig.store->counters().sweptShards == 21);
  check();
  rig.crash();
  rig.reopen();
  check();
  CHECK(rig.close() == Status::kOk);
  rig.reopen();
  check();
  CHECK(rig.removeRange(1, wholeRule(stampAt(40))) == Status::kOk);
  rig.idle();
  for (uint64_t i = 0; i < 60; ++i)
    CHECK(rig.lookup(i) == (i > 40 ? Status::kOk : Status::kAbsent));
}

TEST_CASE(
    "degraded marks come from records and from calls, end with their shard, and survive a crash") {
  Rig rig;
  rig.reopen();
  Shard marked(1, 2, stampAt(1)), plain(2, 2, stampAt(1));
  marked.head().flags |= kFlagDegraded;
  marked.head().missingMask = 0x30;
  CHECK(rig.append(marked) == Status::kOk);
  CHECK(rig.append(plain) == Status::kOk);
  const auto mark = [&](Shard& shard, uint32_t mask) {
    return rig.run([&](Done done) {
      return rig.store->markDegraded(shard.head().key, shard.head().stripeId, mask, done);
    });
  };
  CHECK(mark(plain, 2) == Status::kOk);
  CHECK(rig.store->degraded().size() == 2);
  rig.crash();
  rig.reopen();
  REQUIRE(rig.store->degraded().size() == 2);
  CHECK(rig.store->degraded()
            .at(rig.store->stripeName(marked.head().key, marked.head().stripeId))
            .missingMask == 0x30);
  CHECK(mark(marked, 0) == Status::kOk);
  CHECK(rig.store->degraded().size() == 1);
  CHECK(rig.remove(2, stampAt(5)) == Status::kOk);
  CHECK(rig.store->degraded().empty());
  CHECK(rig.close() == Status::kOk);
  rig.reopen();
  CHECK(rig.store->degraded().empty());
}

TEST_CASE("a store may say ABSENT only for what it would have been given") {
  Rig rig;
  rig.reopen();
  const uint64_t created = rig.store->super().createdStamp;
  CHECK(rig.lookup(1, created - 1) == Status::kUnknown);
  CHECK(rig.lookup(1, created) == Status::kAbsent);
  CHECK(rig.run([&](Done done) { return rig.store->setCompleteSince(0, done); }) == Status::kOk);
  CHECK(rig.lookup(1, 0) == Status::kAbsent);
  rig.crash();
  rig.reopen();
  CHECK(rig.lookup(1, 0) == Status::kAbsent);
  CHECK(rig.store->super().incarnation != 0);
}

}  // namespace nabu::store::test
