#include <doctest/doctest.h>

#include <cerrno>

#include "volume/core/clock.h"
#include "volume/tests/volume_rig.h"

namespace nabu::volume::test {

TEST_CASE("a resent write whose effect is in the ring is answered and not done again") {
  Rig rig(64 << 20, 1);
  REQUIRE(rig.open());
  rig.write(5, 1, 100);
  const std::uint64_t unique = rig.unique;
  rig.write(5, 1, 200);
  rig.volume.reset();
  REQUIRE(rig.open());
  TestRequest again;
  again.op = RequestOp::kWrite;
  again.block = 5;
  again.count = 1;
  again.unique = unique;
  again.memory.assign(kBlockBytes, std::byte{1});
  again.bytes = again.memory.data();
  CHECK(rig.volume->tryWrite(again, true) == 0);
  CHECK(rig.volume->counters().resentDone == 1);
  CHECK(rig.read(5, 1)[0] == 200);
}

TEST_CASE("a part of the log that is lost is an I/O error for its reader and for nobody else") {
  Rig rig(64 << 20, 1);
  rig.options.readCacheBytes = 0;
  REQUIRE(rig.open());
  rig.write(0, 200, 1000);  // long enough not to be cached
  rig.sealAll();
  rig.acknowledge(9);
  TestRequest request;
  request.block = 0;
  request.count = 1;
  request.memory.resize(kBlockBytes);
  request.bytes = request.memory.data();
  rig.volume->read(request, 1);
  REQUIRE(rig.pending.size() == 1);
  rig.answerOne(FetchOutcome::kRetry);
  REQUIRE(rig.pending.size() == 1);
  rig.answerOne(FetchOutcome::kLost);
  REQUIRE(rig.pending.size() == 1);  // looked up anew: it might have been moved
  rig.answerOne(FetchOutcome::kLost);
  CHECK(request.released);
  CHECK(request.error == EIO);
  CHECK(rig.read(1, 1)[0] == 1001);
}

TEST_CASE("with a limit, what waits longer gets EIO; without one it waits") {
  Rig rig(64 << 20, 1);
  REQUIRE(rig.open());
  rig.write(0, 1, 1);
  TestRequest flush;
  flush.op = RequestOp::kFlush;
  rig.volume->flush(flush);
  rig.volume->expire(monotonicNs() + 3600'000'000'000ULL);
  CHECK_FALSE(flush.done);
  rig.volume->setIoTimeout(1000);
  rig.volume->expire(monotonicNs());
  CHECK_FALSE(flush.done);
  rig.volume->expire(monotonicNs() + 2'000'000'000ULL);
  CHECK(flush.released);
  CHECK(flush.error == EIO);
  CHECK(rig.volume->counters().timedOut == 1);
  rig.sealAll();
  rig.acknowledge(9);
  CHECK(rig.volume->tryFlush() == 0);
}

TEST_CASE("of writes that nobody waits for, the first is told, and the first after each watch") {
  Rig rig(64 << 20, 1);
  REQUIRE(rig.open());
  rig.write(0, 1, 1);
  rig.write(1, 1, 2);
  CHECK(rig.sealsWanted == 1);
  CHECK(rig.volume->unsealedBytes() == 2 * kBlockBytes);
  rig.sealAll();
  rig.write(2, 1, 3);
  CHECK(rig.sealsWanted == 1);
  CHECK(rig.volume->watchWrites() == kBlockBytes);  // it may never be told
  rig.sealAll();
  CHECK(rig.volume->watchWrites() == 0);
  rig.write(3, 1, 4);
  rig.write(4, 1, 5);
  CHECK(rig.sealsWanted == 2);
}

TEST_CASE("a write that finds the ring full waits, in order, until there is room") {
  Rig rig(64 << 20, 1);
  REQUIRE(rig.open());
  std::vector<std::unique_ptr<TestRequest>> requests;
  for (std::uint64_t i = 0; i < 6; ++i) {
    auto request = std::make_unique<TestRequest>();
    request->op = RequestOp::kWrite;
    request->block = 0;
    request->count = 128;
    request->unique = i;
    request->memory.assign(128 * kBlockBytes, static_cast<std::byte>(i));
    request->bytes = request->memory.data();
    if (rig.volume->tryWrite(*request, false) == Volume::kMustWait)
      rig.volume->write(*request);
    else
      request->released = true;
    requests.push_back(std::move(request));
  }
  CHECK(rig.volume->stats().waitingWrites == 2);
  rig.sealAll();
  rig.acknowledge(9);
  CHECK(rig.volume->stats().waitingWrites == 0);
  for (const auto& request : requests) CHECK(request->released);
  CHECK(rig.read(0, 1)[0] == 0x0505050505050505);
}

TEST_CASE("a volume that was failed answers what waits and everything after with EIO") {
  Rig rig(64 << 20, 1);
  REQUIRE(rig.open());
  rig.write(0, 1, 1);
  TestRequest flush;
  flush.op = RequestOp::kFlush;
  rig.volume->flush(flush);
  rig.volume->fail();
  CHECK(flush.released);
  CHECK(flush.error == EIO);
  std::byte bytes[kBlockBytes];
  CHECK(rig.volume->tryRead(0, 1, bytes, 1) == EIO);
  CHECK(rig.volume->tryFlush() == EIO);
  TestRequest read;
  read.count = 1;
  read.bytes = bytes;
  rig.volume->read(read, 1);
  CHECK(read.released);
  CHECK(read.error == EIO);
}

TEST_CASE("what the log holds already is not taken from the ring a second time") {
  Rig rig(64 << 20, 1);
  REQUIRE(rig.open());
  rig.write(3, 1, 10);
  rig.write(3, 1, 20);
  rig.sealAll();
  // Durable, but the server dies before it learns that.
  rig.images[rig.inFlight.front().first] = rig.inFlight.front().second;
  rig.inFlight.clear();
  rig.write(4, 1, 30);
  rig.volume.reset();
  REQUIRE(rig.open());
  CHECK(rig.volume->stats().unsealedBytes == kBlockBytes);
  CHECK(rig.read(3, 1)[0] == 20);
  CHECK(rig.read(4, 1)[0] == 30);
}

TEST_CASE("closing answers what waits and lets go of it") {
  Rig rig(64 << 20, 1);
  REQUIRE(rig.open());
  rig.write(0, 1, 1);
  TestRequest flush;
  flush.op = RequestOp::kFlush;
  rig.volume->flush(flush);
  rig.volume->close();
  CHECK(flush.released);
  CHECK(flush.error == ECANCELED);
}

TEST_CASE("a volume grows and never shrinks") {
  Rig rig(1 << 20, 1);
  REQUIRE(rig.open());
  CHECK(rig.volume->resize(2 << 20).ok());
  CHECK_FALSE(rig.volume->resize(1 << 20).ok());
  rig.write(300, 1, 7);
  CHECK(rig.read(300, 1)[0] == 7);
  rig.sealAll();
  rig.acknowledge(9);
  rig.volume.reset();
  REQUIRE(rig.open());
  CHECK(rig.volume->sizeBytes() == 2 << 20);
}

TEST_CASE("sequential reads are fetched ahead in long runs") {
  Rig rig(64 << 20, 1);
  rig.options.readCacheBytes = 16 << 20;
  REQUIRE(rig.open());
  for (std::uint64_t i = 0; i < 8; ++i) rig.write(i * 256, 256, 1 + i * 256);
  rig.sealAll();
  rig.settle();
  rig.volume.reset();  // with what it has cached
  REQUIRE(rig.open());
  for (std::uint64_t block = 0; block < 2048; block += 32) {
    const auto seen = rig.read(block, 32);
    REQUIRE(seen.front() == 1 + block);
    while (!rig.pending.empty()) rig.answerOne();
  }
  CHECK(rig.volume->counters().prefetchedBlocks > 1500);
  CHECK(rig.volume->counters().missBlocks < 300);
}

}  // namespace nabu::volume::test
