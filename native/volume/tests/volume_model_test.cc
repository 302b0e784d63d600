#include <doctest/doctest.h>

#include <cstdlib>

#include "volume/tests/volume_rig.h"

namespace nabu::volume::test {
namespace {

constexpr std::uint64_t kBlocks = 5000;  // ten leaves

struct Op {
  std::uint64_t block;
  std::uint64_t count;
  std::uint64_t first;  // number of the first block, 0 = trim
};

// A volume and what it must hold: `model` after every completed operation; `ops` since the last
// flush that was acknowledged, whose state is `flushed`.
struct Story {
  explicit Story(std::uint32_t seed)
      : rig(kBlocks * kBlockBytes, seed), model(kBlocks), flushed(kBlocks) {
    REQUIRE(rig.open());
  }

  void apply(std::vector<std::uint64_t>& to, const Op& op) {
    for (std::uint64_t i = 0; i < op.count; ++i)
      to[op.block + i] = op.first == 0 ? 0 : op.first + i;
  }
  void mutate() {
    Op op{};
    op.block = rig.pick(3) == 0 ? rig.pick(64) : rig.pick(kBlocks);
    const std::size_t kind = rig.pick(10);
    op.count = kind == 0 ? 1 + rig.pick(256) : 1 + rig.pick(4);
    if (kind == 1) op.count = 1 + rig.pick(3000);
    op.count = std::min(op.count, kBlocks - op.block);
    if (kind == 1) {
      rig.trim(op.block, op.count);
    } else {
      op.first = next;
      next += op.count;
      rig.write(op.block, op.count, op.first);
    }
    apply(model, op);
    ops.push_back(op);
  }
  void flush() {
    if (rig.volume->tryFlush() != 0) {
      TestRequest request;
      request.op = RequestOp::kFlush;
      rig.volume->flush(request);
      while (!request.released) {
        rig.sealAll();
        rig.acknowledge(1);
        if (!rig.pending.empty()) rig.answerOne();
      }
      REQUIRE(request.error == 0);
    }
    flushed = model;
    ops.clear();
  }
  void checkRead() {
    const std::uint64_t block = rig.pick(kBlocks);
    const auto count =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(1 + rig.pick(256), kBlocks - block));
    const auto seen = rig.read(block, count);
    const bool same =
        std::equal(seen.begin(), seen.end(), model.begin() + static_cast<std::ptrdiff_t>(block));
    CHECK(same);
  }
  std::vector<std::uint64_t> readAll() {
    std::vector<std::uint64_t> all;
    for (std::uint64_t block = 0; block < kBlocks; block += 250) {
      const auto part = rig.read(block, 250);
      all.insert(all.end(), part.begin(), part.end());
    }
    return all;
  }
  // Some of what is in flight may have become durable, in order; replay accepts that.
  void die(bool ringSurvives) {
    for (std::size_t kept = rig.pick(rig.inFlight.size() + 1); kept > 0; --kept) {
      rig.images[rig.inFlight.front().first] = std::move(rig.inFlight.front().second);
      rig.inFlight.erase(rig.inFlight.begin());
    }
    rig.inFlight.clear();
    rig.volume.reset();
    rig.checkpointing = false;
    if (!ringSurvives) rig.newRing();
    REQUIRE(rig.open());
    const auto seen = readAll();
    if (ringSurvives) {
      CHECK(seen == model);
      return;
    }
    // Some prefix of the operations since the flush, the last one perhaps in part.
    std::vector<std::uint64_t> state = flushed;
    std::size_t different = 0;
    for (std::size_t i = 0; i < kBlocks; ++i) different += state[i] != seen[i];
    bool isPrefix = different == 0;
    for (std::size_t n = 0; n < ops.size() && !isPrefix; ++n) {
      for (std::uint64_t i = 0; i < ops[n].count && !isPrefix; ++i) {
        const std::uint64_t block = ops[n].block + i;
        different -= state[block] != seen[block];
        state[block] = ops[n].first == 0 ? 0 : ops[n].first + i;
        different += state[block] != seen[block];
        isPrefix = different == 0;
      }
    }
    CHECK(isPrefix);
    model = flushed = seen;
    ops.clear();
  }
  void step() {
    switch (rig.pick(24)) {
      case 0:
        return flush();
      case 1:
      case 2:
        return void(rig.sealOne());
      case 3:
      case 4:
        return rig.acknowledge(1 + rig.pick(3));
      case 5:
        if (rig.pick(4) == 0) rig.beginCheckpoint();
        return;
      case 6:
        return rig.checkpointImage();
      case 7:
        if (rig.pick(3) == 0) rig.stage(1 + rig.pick(8), 0.8);
        return;
      case 8:
        return void(rig.cleanImage());
      case 9:
        return void(rig.deleteDead());
      case 10:
      case 11:
      case 12:
        return checkRead();
      case 13:
        if (!rig.pending.empty()) rig.answerOne();
        return;
      default:
        return mutate();
    }
  }
  // Everything applied, everything in memory: counts must be exact.
  void checkUsage() {
    rig.sealAll();
    rig.settle();
    while (rig.checkpointing) rig.checkpointImage();
    rig.settle();
    CHECK(readAll() == model);
    CHECK(rig.volume->usageIsExact());
  }

  Rig rig;
  std::vector<std::uint64_t> model;
  std::vector<std::uint64_t> flushed;
  std::vector<Op> ops;
  std::uint64_t next = 1;
};

int steps() {
  const char* scale = std::getenv("NABU_TEST_STEPS");
#if defined(__SANITIZE_THREAD__)
  constexpr int kSteps = 200;  // one thread only: there is little for this sanitizer to see
#else
  constexpr int kSteps = 1500;
#endif
  return scale == nullptr ? kSteps : std::atoi(scale);
}

}  // namespace

TEST_CASE(
    "a volume holds every completed write after a server crash, and a prefix with all flushed "
    "after a power loss") {
  std::size_t journalled = 0;
  for (std::uint32_t seed = 1; seed <= 12; ++seed) {
    CAPTURE(seed);
    Story story(seed);
    for (int i = 0; i < steps(); ++i) {
      story.step();
      if (story.rig.pick(150) == 0) story.die(story.rig.pick(2) == 0);
    }
    story.checkUsage();
    CHECK_FALSE(story.rig.stuck);
    CHECK_FALSE(story.rig.fetchMissing);
    CHECK_FALSE(story.rig.victimMissing);
    CHECK_FALSE(story.rig.commitFailed);
    CHECK_FALSE(story.rig.journalWrong);
    journalled += story.rig.journalled;
  }
  CHECK(journalled > 0);
}

TEST_CASE("usage counts stay exact and cleaning gives space back") {
  Story story(77);
  story.rig.options.mapCacheBytes = 1024 * kBlockBytes;
  story.rig.volume.reset();
  REQUIRE(story.rig.open());
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 60; ++i) story.mutate();
    story.flush();
    story.rig.settle();
    story.rig.beginCheckpoint();
    while (story.rig.checkpointing) story.rig.checkpointImage();
    story.rig.settle();
    story.rig.stage(6, 0.9);
    while (story.rig.cleanImage()) story.rig.settle();
    story.rig.beginCheckpoint();
    while (story.rig.checkpointing) story.rig.checkpointImage();
    story.rig.settle();
    story.rig.deleteDead();
    story.checkUsage();
  }
  const VolumeStats stats = story.rig.volume->stats();
  std::uint64_t stored = 0;
  for (const auto& [number, image] : story.rig.images) stored += image.size() / kBlockBytes;
  CHECK(stats.liveBlocks <= kBlocks + 64);
  CHECK(stored < 4 * stats.liveBlocks);
}

}  // namespace nabu::volume::test
