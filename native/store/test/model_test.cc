#include <map>
#include <set>

#include "store/test/harness.h"

// A store against a map, under seeded operations, crashes and clean restarts: what was acknowledged
// is there, what was deleted stays away, what was in flight is wholly there or wholly absent.

namespace nabu::store::test {
namespace {

struct Name {
  uint64_t key;
  uint64_t stripe;
  uint8_t shardIndex;
  auto operator<=>(const Name&) const = default;
};

struct Held {
  uint64_t stamp;
  uint64_t owner;  // 0: none
  WriterEpoch epoch;
  uint64_t sequence;
};

struct Rule {
  uint64_t owner;
  uint64_t from, to;
  uint64_t stamp;
  bool covers(const Held& held) const {
    return held.owner == owner && held.sequence >= from && held.sequence <= to &&
           held.stamp <= stamp;
  }
};

struct Operation {
  enum Kind { kAppend, kDelete, kRange, kFence } kind;
  Name name{};
  Held held{};
  Rule rule{};
  OwnerUpdate update;
  std::unique_ptr<Shard> shard;
  bool ended = false;
  Status status{};
};

class Model {
 public:
  explicit Model(uint64_t seed) : rig_(8U << 20, 128U << 10), random_(seed) {
    rig_.random.seed(seed);
    rig_.options.checkpointEveryBytes = 400U << 10;
    rig_.options.sharedFlushes = seed % 2 == 0;
    rig_.reopen();
  }

  void run(int steps) {
    for (int i = 0; i < steps; ++i) {
      const uint64_t dice = random_() % 100;
      if (dice < 80) {
        batch(random_() % 100 < 8);
      } else if (dice < 90) {
        rig_.idle(static_cast<int>(random_() % 50));
      } else if (dice < 94) {
        if (rig_.checkpoint() != Status::kOk) CHECK(rig_.store->counters().checkpointFailures > 0);
      } else if (dice < 97) {
        REQUIRE(rig_.close() == Status::kOk);
        rig_.reopen();
        CHECK(rig_.store->counters().rebuiltRecords == 0);
        check();
      } else {
        rig_.crash();
        rig_.reopen();
        check();
      }
    }
    check();
  }
  uint64_t full = 0, compacted = 0, crashes = 0;

 private:
  static constexpr uint64_t kKeys = 120;

  uint64_t nextStamp() { return ++stamp_ << 20; }
  uint32_t blocksOfName(const Name& name) { return 1 + (name.key * 7 + name.stripe) % 11; }

  std::unique_ptr<Operation> make() {
    auto op = std::make_unique<Operation>();
    const uint64_t dice = random_() % 100;
    op->name = {random_() % kKeys, 1 + random_() % 2, static_cast<uint8_t>(random_() % 2)};
    if (dice < 66) {
      op->kind = Operation::kAppend;
      op->held = {nextStamp(), random_() % 4, {}, 0};
      op->shard = std::make_unique<Shard>(op->name.key, blocksOfName(op->name), op->held.stamp,
                                          op->name.stripe, op->name.shardIndex);
      if (op->held.owner != 0) {
        op->held.sequence = ++sequence_;
        op->held.epoch = fences_[op->held.owner];
        op->shard->log(op->held.owner, op->held.epoch, op->held.sequence);
      }
    } else if (dice < 90) {
      op->kind = Operation::kDelete;
      op->held.stamp = random_() % 4 == 0
                           ? (stamp_ - std::min<uint64_t>(stamp_, random_() % 50)) << 20 | 1
                           : nextStamp();
    } else if (dice < 95) {
      op->kind = Operation::kRange;
      const uint64_t from = sequence_ > 60 ? sequence_ - 60 + random_() % 50 : 0;
      op->rule = {1 + random_() % 3, from, from + random_() % 30, nextStamp()};
    } else {
      op->kind = Operation::kFence;
      op->held.owner = 1 + random_() % 3;
      WriterEpoch& fence = fences_[op->held.owner];
      if (random_() % 2 == 0) ++fence.incarnation;
      op->update.fence = fence;
      op->update.hasNote = true;
      op->update.noteVersion = ++noteVersion_;
      op->update.note.assign(random_() % 100, static_cast<uint8_t>(noteVersion_));
    }
    return op;
  }

  Status start(Operation& op) {
    const Done done{[](void* context, uint64_t, Status status, uint64_t) {
                      auto* to = static_cast<Operation*>(context);
                      to->ended = true;
                      to->status = status;
                    },
                    &op, 0};
    Store& store = *rig_.store;
    switch (op.kind) {
      case Operation::kAppend:
        return store.append(op.shard->meta.data(), op.shard->meta.size(), op.shard->payload.bytes(),
                            op.shard->payload.sizeBytes(), done);
      case Operation::kDelete:
        return store.remove(keyOf(op.name.key).data(), op.held.stamp, done);
      case Operation::kRange: {
        OwnerRule rule;
        rule.stamp = op.rule.stamp;
        rule.range = {op.rule.from, op.rule.to};
        return store.removeOwnerRange(ownerOf(op.rule.owner).data(), rule, done);
      }
      case Operation::kFence:
        return store.setOwner(ownerOf(op.held.owner).data(), op.update, done);
    }
    return Status::kFailed;
  }

  void batch(bool crash) {
    std::vector<std::unique_ptr<Operation>> ops;
    const uint64_t count = 1 + random_() % 12;
    for (uint64_t i = 0; i < count; ++i) {
      ops.push_back(make());
      Operation& op = *ops.back();
      const Status status = start(op);
      if (status != Status::kPending) {
        op.ended = true;
        op.status = status;
      }
    }
    const auto allEnded = [&] {
      return std::all_of(ops.begin(), ops.end(), [](const auto& op) { return op->ended; });
    };
    uint64_t budget = crash ? random_() % 12 : 200'000;
    while (!allEnded() && budget-- > 0) {
      ++rig_.nowMs;
      rig_.store->poll();
    }
    REQUIRE_MESSAGE((crash || allEnded()), rig_.store->describe());
    for (auto& op : ops) {
      if (op->ended) note(*op);
    }
    if (!crash) return;
    ++crashes;
    compacted += rig_.store->counters().compactedSegments;
    rig_.device->crash();
    for (auto& op : ops) {
      if (!op->ended) maybe_.push_back(std::move(op));
    }
    rig_.store.reset();  // ends what is left; its results no longer count
    rig_.reopen();
    check();
  }

  void note(const Operation& op) {
    if (op.status == Status::kFull) {
      ++full;
      return;
    }
    switch (op.kind) {
      case Operation::kAppend:
        REQUIRE((op.status == Status::kOk || op.status == Status::kExists ||
                 op.status == Status::kDeleted || op.status == Status::kFenced));
        if (op.status == Status::kOk) shards_[op.name].push_back(op.held);
        break;
      case Operation::kDelete:
        REQUIRE(op.status == Status::kOk);
        deleted_[op.name.key] = std::max(deleted_[op.name.key], op.held.stamp);
        break;
      case Operation::kRange:
        REQUIRE(op.status == Status::kOk);
        rules_.push_back(op.rule);
        break;
      case Operation::kFence: {
        REQUIRE(op.status == Status::kOk);
        OwnerUpdate& held = owners_[op.held.owner];
        held.fence = std::max(held.fence, op.update.fence);
        if (op.update.noteVersion > held.noteVersion) {
          held.noteVersion = op.update.noteVersion;
          held.note = op.update.note;
        }
        break;
      }
    }
  }

  bool coveredByAcknowledged(const Held& held) const {
    return std::any_of(rules_.begin(), rules_.end(),
                       [&](const Rule& rule) { return rule.covers(held); });
  }
  bool coveredByMaybe(const Held& held) const {
    return std::any_of(maybe_.begin(), maybe_.end(), [&](const auto& op) {
      return op->kind == Operation::kRange && op->rule.covers(held);
    });
  }

  /** Compares, and takes over what became of operations that were in flight at a crash. */
  void check() {
    uint64_t total = 0;
    for (uint64_t key = 0; key < kKeys; ++key) {
      std::vector<ShardSummary> found;
      uint64_t deleted = 0;
      const Status status = rig_.store->lookup(keyOf(key).data(), UINT64_MAX, found, deleted);
      REQUIRE(status == (found.empty() ? Status::kAbsent : Status::kOk));
      std::set<uint64_t> mayDelete{deleted_[key]};
      for (const auto& op : maybe_) {
        if (op->kind == Operation::kDelete && op->name.key == key) mayDelete.insert(op->held.stamp);
      }
      REQUIRE(deleted >= deleted_[key]);
      REQUIRE(mayDelete.contains(deleted));
      deleted_[key] = deleted;
      std::map<Name, uint64_t> there;
      for (const ShardSummary& shard : found) {
        Name name{key, 0, shard.shardIndex};
        std::memcpy(&name.stripe, shard.stripeId, 8);
        REQUIRE(there.emplace(name, shard.stamp).second);
        REQUIRE(shard.stamp > deleted);
        ++total;
      }
      for (uint64_t stripe = 1; stripe <= 2; ++stripe) {
        for (uint8_t index = 0; index < 2; ++index) checkName({key, stripe, index}, deleted, there);
      }
    }
    REQUIRE(rig_.store->stats().shards >= total);
    for (auto& [owner, held] : owners_) checkOwner(owner, held);
    maybe_.clear();
  }

  void checkName(const Name& name, uint64_t deleted, const std::map<Name, uint64_t>& there) {
    std::vector<Held>& acknowledged = shards_[name];
    const auto at = there.find(name);
    for (const Held& held : acknowledged) {
      if (held.stamp <= deleted || coveredByAcknowledged(held) || coveredByMaybe(held)) continue;
      CAPTURE(name.key);
      CAPTURE(held.stamp);
      CAPTURE(held.owner);
      CAPTURE(held.sequence);
      CAPTURE(rig_.store->counters().rebuiltRecords);
      CAPTURE(rig_.store->counters().tornRecords);
      CAPTURE(rig_.store->counters().lostRanges);
      CAPTURE(rig_.store->super().checkpointId);
      CAPTURE(rig_.store->counters().checkpointFailures);
      REQUIRE(at != there.end());
      REQUIRE(at->second == held.stamp);
    }
    std::optional<Held> now;
    if (at != there.end()) {
      for (const Held& held : acknowledged) {
        if (held.stamp == at->second) now = held;
      }
      for (const auto& op : maybe_) {
        if (op->kind == Operation::kAppend && op->name == name && op->held.stamp == at->second)
          now = op->held;
      }
      REQUIRE(now.has_value());
      REQUIRE(!coveredByAcknowledged(*now));
      Shard shard(name.key, blocksOfName(name), now->stamp, name.stripe, name.shardIndex);
      if (now->owner != 0) shard.log(now->owner, now->epoch, now->sequence);
      REQUIRE(rig_.read(shard) == Status::kOk);
    }
    acknowledged.clear();
    if (now) acknowledged.push_back(*now);
  }

  void checkOwner(uint64_t owner, OwnerUpdate& held) {
    const OwnerState* state = rig_.store->getOwner(ownerOf(owner).data());
    REQUIRE(state != nullptr);
    REQUIRE(state->fence >= held.fence);
    bool known = state->noteVersion == held.noteVersion && state->note == held.note;
    for (const auto& op : maybe_) {
      if (op->kind != Operation::kFence || op->held.owner != owner) continue;
      known =
          known || (state->noteVersion == op->update.noteVersion && state->note == op->update.note);
    }
    REQUIRE(known);
    held.fence = state->fence;
    held.noteVersion = state->noteVersion;
    held.note = state->note;
  }

  Rig rig_;
  std::mt19937_64 random_;
  uint64_t stamp_ = (kNowMs << 16) >> 20, sequence_ = 0, noteVersion_ = 0;
  std::map<uint64_t, WriterEpoch> fences_;
  std::map<Name, std::vector<Held>> shards_;
  std::map<uint64_t, uint64_t> deleted_;
  std::vector<Rule> rules_;
  std::map<uint64_t, OwnerUpdate> owners_;
  std::vector<std::unique_ptr<Operation>> maybe_;
};

}  // namespace

TEST_CASE("a store agrees with a map through seeded operations, crashes and restarts") {
  uint64_t compacted = 0, crashes = 0;
  const char* more = std::getenv("NABU_STORE_SEEDS");
  const uint64_t seeds = more != nullptr ? std::strtoull(more, nullptr, 10) : 12;
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    CAPTURE(seed);
    Model model(seed);
    model.run(250);
    compacted += model.compacted;
    crashes += model.crashes;
  }
  CHECK(crashes > 20);
  CHECK(compacted > 0);
}

}  // namespace nabu::store::test
