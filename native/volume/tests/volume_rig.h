#pragma once

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <vector>

#include "volume/core/volume.h"

namespace nabu::volume::test {

using Bytes = std::vector<std::byte>;

inline VolumeId testId() {
  VolumeId id{};
  id[0] = 0x42;
  return id;
}

// A request whose outcome can be looked at.
struct TestRequest : Request, RequestSink {
  Bytes memory;
  bool done = false;
  bool released = false;
  int error = -1;
  TestRequest() { sink = this; }
  void answer(Request&, int result) override {
    done = true;
    error = result;
  }
  void release(Request&) override { released = true; }
};

// Stands for TypeScript and the storage nodes: keeps images, hands out sequences, answers fetches
// when it likes.
class Rig : public VolumeEvents {
 public:
  explicit Rig(std::uint64_t sizeBytes, std::uint32_t seed) : random(seed) {
    options.volumeId = testId();
    options.sizeBytes = sizeBytes;
    options.readCacheBytes = 64 * kBlockBytes;
    options.mapCacheBytes = 32 * kBlockBytes;
    options.sealBytes = 64 * kBlockBytes;
    newRing();
  }
  ~Rig() override {
    volume.reset();
    close(ringFd);
  }

  void newRing() {
    if (ringFd >= 0) close(ringFd);
    ringFd = WriteRing::createMemfd(testId(), std::uint64_t{2} << 20).value();
  }

  // Opens from what is durable. False when something could not be replayed.
  bool open() {
    pending.clear();
    auto opened = Volume::open(options, ringFd, *this);
    if (!opened.ok()) return false;
    volume = std::move(opened.value());
    std::uint64_t covered = 0;
    checkpoint = 0;
    for (auto it = images.rbegin(); it != images.rend(); ++it) {
      if (!parseImage(it->second).value().header.hasRoot) continue;
      bool loaded = false;
      volume->loadRoot(it->second, [&](Result<RootRecord> root, std::uint64_t) {
        loaded = root.ok();
        if (root.ok()) covered = root.value().coveredSequence;
      });
      while (!loaded && !pending.empty()) answerOne();
      if (!loaded) return false;
      checkpoint = it->first;
      break;
    }
    // Every other time from the log alone, as after a loss of power; else what the journal has of
    // it first.
    bool resumed = false;
    std::uint64_t through = covered;
    const auto last = opens % 2 == 0 ? JournalEpoch{} : journalEpoch;
    volume->resumeJournal(last, [&](Result<Volume::Resumed> got) {
      resumed = got.ok();
      if (!got.ok()) return;
      through = got.value().throughSequence;
      for (const auto& [number, bytes] : got.value().images) {
        const auto image = images.find(number);
        journalWrong = journalWrong || image == images.end() || image->second.size() != bytes;
        ++journalled;
      }
    });
    while (!resumed && !pending.empty()) answerOne();
    if (!resumed || through < covered) return false;
    for (const auto& [number, image] : images) {
      if (number <= through) continue;
      bool applied = false;
      volume->applyImage(image, [&](Status status) { applied = status.ok(); });
      while (!applied && !pending.empty()) answerOne();
      if (!applied) return false;
      sequence = std::max(sequence, number);
    }
    sequence = std::max(sequence, covered);
    journalEpoch = {1, ++opens};
    volume->claimJournal(journalEpoch);
    return volume->reapplyRing().ok();
  }

  Position position() {
    Position p;
    p.generation = 1;
    p.sequence = ++sequence;
    p.checkpointSequence = checkpoint;
    return p;
  }

  bool sealOne() {
    Bytes image(kMaxImageBytes);
    const auto room = std::span(image).first(pick(3) == 0 ? kMinImageBytes : kMaxImageBytes);
    const auto sealed = volume->seal(room, position());
    if (!sealed.ok() || !sealed.value()) {
      --sequence;
      return false;
    }
    built(std::move(image), sealed.value()->lengthBytes);
    return true;
  }
  void sealAll() {
    while (sealOne()) {
    }
  }
  bool beginCheckpoint() {
    if (checkpointing) return true;
    const auto begun = volume->beginCheckpoint();
    checkpointing = begun.ok() && begun.value();
    return checkpointing;
  }
  void checkpointImage() {
    if (!checkpointing) return;
    Bytes image(kMaxImageBytes);
    const auto room = std::span(image).first(pick(2) == 0 ? kMinImageBytes : kMaxImageBytes);
    const auto sealed = volume->nextCheckpointImage(room, position());
    if (!sealed.ok()) {
      --sequence;
      return;
    }
    checkpointing = !sealed.value().last;
    built(std::move(image), sealed.value().lengthBytes);
  }
  void stage(std::size_t max, double utilisation) {
    for (const Victim& victim : volume->pickVictims(max, utilisation, 0)) {
      const auto found = images.find(victim.sequence);
      if (found == images.end()) {
        victimMissing = true;
        continue;
      }
      staging.push_back(found->second);
      volume->stageClean(staging.back(), [](Result<StagedCounts>) {});
      while (!pending.empty()) answerOne();
    }
  }
  bool cleanImage() {
    Bytes image(kMaxImageBytes);
    const auto sealed = volume->cleanImage(image, position());
    if (!sealed.ok() || !sealed.value()) {
      --sequence;
      return false;
    }
    built(std::move(image), sealed.value()->lengthBytes);
    return true;
  }
  std::size_t deleteDead() {
    const auto dead = volume->deletable(1000);
    for (const std::uint64_t number : dead) images.erase(number);
    volume->forget(dead);
    return dead.size();
  }
  void acknowledge(std::size_t count) {
    for (; count > 0 && !inFlight.empty(); --count) {
      auto [number, image] = std::move(inFlight.front());
      inFlight.erase(inFlight.begin());
      const bool root = parseImage(image).value().header.hasRoot;
      images[number] = std::move(image);
      if (root) checkpoint = number;
      commitFailed = commitFailed || !volume->commit(number).ok();
      if (root && number % 2 == 0) volume->checkpointPublished();
    }
  }
  void answerOne(FetchOutcome outcome = FetchOutcome::kOk) {
    const std::size_t at = pick(pending.size());
    const FetchWanted f = pending[at];
    pending.erase(pending.begin() + static_cast<std::ptrdiff_t>(at));
    const auto image = images.find(f.sequence);
    if (image == images.end()) {
      fetchMissing = true;
      outcome = FetchOutcome::kLost;
    }
    const std::byte* bytes = outcome == FetchOutcome::kOk
                                 ? image->second.data() + std::size_t{f.block} * kBlockBytes
                                 : nullptr;
    (void)volume->fetched(f.id, bytes, std::size_t{f.count} * kBlockBytes, outcome);
  }
  void settle() {
    for (int round = 0; round < 1000 && (!pending.empty() || !inFlight.empty()); ++round) {
      if (!pending.empty()) answerOne();
      acknowledge(1);
    }
  }

  // Blocks are filled with a number; 0 = zeros.
  void write(std::uint64_t block, std::uint64_t count, std::uint64_t first) {
    TestRequest request;
    request.op = RequestOp::kWrite;
    request.block = block;
    request.count = count;
    request.unique = ++unique;
    request.memory.resize(count * kBlockBytes);
    for (std::uint64_t i = 0; i < count; ++i) {
      for (std::size_t at = 0; at < kBlockBytes; at += 8) {
        const std::uint64_t value = first + i;
        std::memcpy(request.memory.data() + i * kBlockBytes + at, &value, 8);
      }
    }
    request.bytes = request.memory.data();
    submit(request);
  }
  void trim(std::uint64_t block, std::uint64_t count) {
    TestRequest request;
    request.op = RequestOp::kTrim;
    request.block = block;
    request.count = count;
    request.unique = ++unique;
    submit(request);
  }
  void submit(TestRequest& request) {
    request.error = volume->tryWrite(request, false);
    if (request.error != Volume::kMustWait) return;
    volume->write(request);
    for (int round = 0; round < 10000 && !request.released; ++round) {
      sealAll();
      if (!pending.empty()) answerOne();
      if (pick(2) == 0) acknowledge(1);
      if (round > 50) {
        beginCheckpoint();
        while (checkpointing) checkpointImage();
      }
    }
    stuck = stuck || !request.released;
  }
  // What a block holds: its number, or ~0 when it is torn.
  static std::uint64_t numberIn(const std::byte* block) {
    std::uint64_t first = 0;
    std::memcpy(&first, block, 8);
    for (std::size_t at = 8; at < kBlockBytes; at += 8) {
      if (std::memcmp(block + at, &first, 8) != 0) return ~std::uint64_t{0};
    }
    return first;
  }
  std::vector<std::uint64_t> read(std::uint64_t block, std::uint32_t count) {
    TestRequest request;
    request.block = block;
    request.count = count;
    request.memory.resize(count * kBlockBytes);
    request.bytes = request.memory.data();
    request.error =
        pick(2) == 0 ? volume->tryRead(block, count, request.bytes, 1) : Volume::kMustWait;
    if (request.error == Volume::kMustWait) {
      volume->read(request, 1);
      while (!request.released && !pending.empty()) answerOne();
    }
    std::vector<std::uint64_t> numbers;
    for (std::uint32_t i = 0; i < count; ++i) {
      numbers.push_back(request.error == 0 ? numberIn(request.bytes + i * kBlockBytes)
                                           : ~std::uint64_t{1});
    }
    return numbers;
  }
  std::size_t pick(std::size_t below) {
    return std::uniform_int_distribution<std::size_t>(0, below - 1)(random);
  }

  void sealWanted(SealReason, std::uint64_t) override { ++sealsWanted; }
  void fetch(std::span<const FetchWanted> fetches) override {
    pending.insert(pending.end(), fetches.begin(), fetches.end());
  }
  void checkpointWanted(std::size_t, bool) override { ++checkpointsWanted; }

  std::mt19937 random;
  VolumeOptions options;
  int ringFd = -1;
  std::unique_ptr<Volume> volume;
  std::map<std::uint64_t, Bytes> images;
  std::vector<std::pair<std::uint64_t, Bytes>> inFlight;
  std::vector<FetchWanted> pending;
  std::vector<Bytes> staging;
  std::uint64_t sequence = 0;
  std::uint64_t checkpoint = 0;
  std::uint64_t unique = 0;
  bool checkpointing = false;
  bool stuck = false, fetchMissing = false, victimMissing = false, commitFailed = false;
  bool journalWrong = false;
  std::size_t journalled = 0;  // images that came from the journal
  JournalEpoch journalEpoch;
  std::uint64_t opens = 0;
  int sealsWanted = 0, checkpointsWanted = 0;

 private:
  void built(Bytes image, std::size_t length) {
    image.resize(length);
    inFlight.emplace_back(sequence, std::move(image));
  }
};

}  // namespace nabu::volume::test
