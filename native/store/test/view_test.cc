#include "store/memory_device.h"
#include "store/test/harness.h"

namespace nabu::store::test {
namespace {

constexpr uint64_t kDiskBytes = 24U << 20;

/** A store whose device is memory. */
struct MemoryRig : Rig {
  MemoryRig() {
    auto made = MemoryDevice::open(kDiskBytes);
    auto opened = Store::open(std::move(std::get<0>(made)), options);
    REQUIRE(std::holds_alternative<std::unique_ptr<Store>>(opened));
    store = std::move(std::get<std::unique_ptr<Store>>(opened));
    mapped = store->device().mapped();
    REQUIRE(mapped != nullptr);
  }
  Status view(Shard& shard, View& out, uint64_t offset = 0, uint64_t length = 0,
              size_t metaRoom = 4096) {
    ReadRequest request;
    request.key = shard.head().key;
    request.stripeId = shard.head().stripeId;
    request.shardIndex = shard.head().shardIndex;
    request.rangeOffset = offset;
    request.rangeLength = length;
    request.metaOut = meta.data();
    request.metaCapacity = metaRoom;
    request.askStamp = UINT64_MAX;
    return store->view(request, out);
  }
  bool same(const View& view, Shard& shard, uint64_t offset = 0) const {
    return std::memcmp(mapped.get() + view.offset, shard.payload.bytes() + offset,
                       view.lengthBytes) == 0;
  }
  std::shared_ptr<const uint8_t[]> mapped;
  std::vector<uint8_t> meta = std::vector<uint8_t>(4096);
};

}  // namespace

TEST_CASE("a view shows what a read brings, where the device has it") {
  MemoryRig rig;
  Shard shard(1, 16, stampAt(1));
  REQUIRE(rig.append(shard) == Status::kOk);
  struct {
    uint64_t offset, length, expected;
  } const ranges[] = {{0, 0, 65536}, {0, 65536, 65536}, {8192, 4096, 4096}, {61440, 0, 4096}};
  for (const auto& [offset, length, expected] : ranges) {
    View view;
    REQUIRE(rig.view(shard, view, offset, length) == Status::kOk);
    CHECK(view.lengthBytes == expected);
    CHECK(rig.same(view, shard, offset));
    const auto& answer = *reinterpret_cast<ShardMeta*>(rig.meta.data());
    CHECK(answer.rangeOffset == offset);
    CHECK(answer.crcCount == expected / kBlockBytes);
    CHECK(std::memcmp(rig.meta.data() + sizeof answer,
                      shard.meta.data() + sizeof answer + offset / 1024, expected / 1024) == 0);
    CHECK(rig.store->stats().inFlight == 1);
    CHECK(rig.store->endView(view.id));
    CHECK_FALSE(rig.store->endView(view.id));
  }
  CHECK_FALSE(rig.store->endView(4711));
  CHECK(rig.store->stats().inFlight == 0);
}

TEST_CASE("a view is refused like a read, and changes nothing then") {
  MemoryRig rig;
  Shard shard(1, 4, stampAt(1)), other(2, 4, stampAt(1));
  REQUIRE(rig.append(shard) == Status::kOk);
  View view;
  CHECK(rig.view(shard, view, 1) == Status::kBadArgument);
  CHECK(rig.view(shard, view, 0, 100) == Status::kBadArgument);
  CHECK(rig.view(shard, view, 16384) == Status::kOutOfRange);
  CHECK(rig.view(shard, view, 4096, 16384) == Status::kOutOfRange);
  CHECK(rig.view(shard, view, 0, 0, sizeof(ShardMeta) + 15) == Status::kBadArgument);
  CHECK(rig.view(other, view) == Status::kAbsent);
  CHECK(rig.store->stats().inFlight == 0);

  Rig disk;
  disk.reopen();
  REQUIRE(disk.append(shard) == Status::kOk);
  ReadRequest request;
  request.key = shard.head().key;
  CHECK(disk.store->view(request, view) == Status::kBadArgument);
  CHECK(std::string(disk.store->detail()) == "device");
}

TEST_CASE("a view of flipped bits is none, and the shard counts as corrupt from then on") {
  MemoryRig rig;
  Shard shard(1, 4, stampAt(1));
  REQUIRE(rig.append(shard) == Status::kOk);
  View view;
  REQUIRE(rig.view(shard, view) == Status::kOk);
  REQUIRE(rig.store->endView(view.id));
  const_cast<uint8_t*>(rig.mapped.get())[view.offset + 9000] ^= 4;
  CHECK(rig.view(shard, view, 0, 8192) == Status::kOk);
  CHECK(rig.store->endView(view.id));
  CHECK(rig.view(shard, view, 8192, 4096) == Status::kCorrupt);
  CHECK(rig.view(shard, view, 0, 4096) == Status::kCorrupt);
  CHECK(rig.lookup(1) == Status::kUnknown);
  CHECK(rig.store->counters().corruptReads == 1);
}

TEST_CASE("what is viewed stays as it is until the view ends, however the log goes on") {
  MemoryRig rig;
  Shard shard(1, 64, stampAt(1));
  REQUIRE(rig.append(shard) == Status::kOk);
  View view;
  REQUIRE(rig.view(shard, view) == Status::kOk);
  REQUIRE(rig.remove(1, stampAt(2)) == Status::kOk);
  const auto cycle = [&rig](uint64_t from) {
    for (uint64_t key = from; key < from + 400; ++key) {
      Shard passing(key, 64, stampAt(3));
      REQUIRE(rig.append(passing) == Status::kOk);
      REQUIRE(rig.remove(key, stampAt(4)) == Status::kOk);
      rig.idle(2);
    }
  };
  cycle(1000);  // four times the device
  REQUIRE(rig.store->counters().segmentsFreed > 24);
  CHECK(rig.same(view, shard));
  REQUIRE(rig.store->endView(view.id));
  cycle(2000);
  CHECK_FALSE(rig.same(view, shard));
}

TEST_CASE("close waits for views, and their memory outlives the store") {
  MemoryRig rig;
  Shard shard(1, 4, stampAt(1));
  REQUIRE(rig.append(shard) == Status::kOk);
  View view;
  REQUIRE(rig.view(shard, view) == Status::kOk);
  bool closed = false;
  rig.store->close({[](void* context, uint64_t, Status status, uint64_t) {
                      CHECK(status == Status::kOk);
                      *static_cast<bool*>(context) = true;
                    },
                    &closed, 0});
  rig.idle();
  CHECK_FALSE(closed);
  View late;
  CHECK(rig.view(shard, late) == Status::kClosed);
  REQUIRE(rig.store->endView(view.id));
  rig.idle();
  CHECK(closed);
  rig.store.reset();
  CHECK(rig.same(view, shard));
}

}  // namespace nabu::store::test
