#include "volume/core/write_ring.h"

#include <doctest/doctest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <deque>
#include <random>
#include <thread>

namespace nabu::volume {
namespace {

const VolumeId kId{1, 2, 3};

struct Ring {
  explicit Ring(std::uint64_t bytes) : fd(WriteRing::createMemfd(kId, bytes).value()) { reopen(); }
  ~Ring() { close(fd); }
  void reopen() {
    ring.reset();
    ring = std::move(WriteRing::open(fd, kId).value());
  }
  int fd;
  std::unique_ptr<WriteRing> ring;
};

}  // namespace

TEST_CASE(
    "a ring gives back what was published and not released, in order, and skips what was only "
    "reserved") {
  Ring r(2 << 20);
  std::mt19937 random(5);
  std::deque<RingRecord> live;
  for (int i = 0; i < 20000; ++i) {
    const bool trim = random() % 8 == 0;
    auto record =
        r.ring->reserve(trim ? RingOp::kTrim : RingOp::kWrite, random(), 1 + random() % 40);
    if (record) {
      record->unique = random();
      if (random() % 16 != 0) {
        if (!trim)
          std::memset(r.ring->bytesAt(record->position), static_cast<int>(record->index),
                      record->count * kBlockBytes);
        r.ring->publish(*record);
        live.push_back(*record);
      }
    }
    if (!live.empty() && (!record || random() % 2 == 0)) {
      r.ring->release(live.front().index + 1);
      live.pop_front();
    }
    if (random() % 500 != 0) continue;
    r.reopen();
    REQUIRE(r.ring->found().size() == live.size());
    for (std::size_t n = 0; n < live.size(); ++n) {
      const auto found = r.ring->published(r.ring->found()[n]);
      REQUIRE(found);
      CHECK(found->index == live[n].index);
      CHECK(found->block == live[n].block);
      CHECK(found->unique == live[n].unique);
      if (found->op == RingOp::kTrim) continue;
      const std::byte* data = r.ring->bytesAt(found->position);
      CHECK(data[0] == static_cast<std::byte>(found->index));
      CHECK(data[found->count * kBlockBytes - 1] == static_cast<std::byte>(found->index));
    }
  }
}

TEST_CASE(
    "a ring is full, not overwritten, when nothing is released, and while a reader holds a pin") {
  Ring r(2 << 20);
  std::vector<RingRecord> records;
  while (auto record = r.ring->reserve(RingOp::kWrite, 0, 16)) {
    r.ring->publish(*record);
    records.push_back(*record);
  }
  CHECK(records.size() == 32);
  {
    const WriteRing::Pin pin(*r.ring, 0);
    r.ring->release(records.back().index + 1);
    CHECK_FALSE(r.ring->reserve(RingOp::kWrite, 0, 16));
  }
  CHECK(r.ring->reserve(RingOp::kWrite, 0, 16));
}

TEST_CASE("a ring of another volume, of another version or cut short is refused") {
  Ring r(2 << 20);
  CHECK_FALSE(WriteRing::open(r.fd, VolumeId{9}).ok());
  auto* page =
      static_cast<std::uint8_t*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, r.fd, 0));
  const std::uint8_t version = page[8];
  page[8] = static_cast<std::uint8_t>(version + 1);
  CHECK(WriteRing::open(r.fd, kId).error().failure == Failure::kUnknownFormat);
  page[8] = version;
  page[40] ^= 1;
  CHECK_FALSE(WriteRing::open(r.fd, kId).ok());
  munmap(page, 4096);
  CHECK_FALSE(WriteRing::createMemfd(kId, 4096).ok());
}

#if !defined(__SANITIZE_THREAD__)
TEST_CASE("a process killed at any instruction leaves every announced record whole") {
  // The child announces (over a shared counter) after publish, as a server answers the kernel after
  // it.
  std::mt19937 random(9);
  for (int round = 0; round < 60; ++round) {
    Ring r(2 << 20);
    auto* announced = static_cast<std::atomic<std::uint64_t>*>(
        mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    const pid_t child = fork();
    if (child == 0) {
      for (std::uint64_t i = 0;; ++i) {
        auto record = r.ring->reserve(RingOp::kWrite, i, 1 + i % 5);
        if (!record) {
          r.ring->release(r.ring->tail() + 20);
          continue;
        }
        for (std::uint64_t b = 0; b < record->count * kBlockBytes; b += 8) {
          std::memcpy(r.ring->bytesAt(record->position) + b, &i, 8);
        }
        record->unique = i;
        r.ring->publish(*record);
        announced->store(record->index + 1);
      }
    }
    usleep(200 + random() % 3000);
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    const std::uint64_t upTo = announced->load();
    r.reopen();
    std::uint64_t expected = r.ring->tail();
    for (const std::uint64_t index : r.ring->found()) {
      const auto record = r.ring->published(index);
      REQUIRE(record);
      CHECK(index == expected++);
      std::uint64_t value = 0;
      for (std::uint64_t b = 0; b < record->count * kBlockBytes; b += 8) {
        std::memcpy(&value, r.ring->bytesAt(record->position) + b, 8);
        REQUIRE(value == record->unique);
      }
    }
    CHECK(expected >= upTo);
    munmap(announced, 4096);
  }
}
#endif

TEST_CASE("threads that write at the same time lose nothing") {
  Ring r(4 << 20);
  std::atomic<int> running{4};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 3000; ++i) {
        std::optional<RingRecord> record;
        while (!(record = r.ring->reserve(RingOp::kWrite, static_cast<std::uint64_t>(i), 2)))
          std::this_thread::yield();
        std::memset(r.ring->bytesAt(record->position), t, 2 * kBlockBytes);
        record->unique = static_cast<std::uint64_t>(t);
        r.ring->publish(*record);
      }
      --running;
    });
  }
  std::uint64_t index = 0;
  while (running > 0 || index < r.ring->head()) {
    const auto record = index < r.ring->head() ? r.ring->published(index) : std::nullopt;
    if (!record) {
      std::this_thread::yield();
      continue;
    }
    CHECK(r.ring->bytesAt(record->position)[2 * kBlockBytes - 1] ==
          static_cast<std::byte>(record->unique));
    r.ring->release(++index);
  }
  for (auto& thread : threads) thread.join();
  CHECK(index == 12000);
}

}  // namespace nabu::volume
