#include "store/test/harness.h"

// Torn tails, bad sectors, recycled segments: what the issue calls ordinary inputs.

namespace nabu::store::test {
namespace {

constexpr uint64_t kSegment = 128U << 10;

/** Where the record of a shard lies, found by its own words. */
uint64_t recordAt(const Disk& disk, const Shard& shard) {
  const auto& meta = *reinterpret_cast<const ShardMeta*>(shard.meta.data());
  for (uint64_t at = kDataStart; at + kBlockBytes <= disk.bytes.size(); at += kBlockBytes) {
    const auto& head = *reinterpret_cast<const RecordHeader*>(disk.bytes.data() + at);
    if (head.magic == kRecordMagic && std::memcmp(head.meta.key, meta.key, 32) == 0 &&
        head.meta.stamp == meta.stamp) {
      return at;
    }
  }
  return 0;
}

void flip(Disk& disk, uint64_t at) { disk.bytes[at] ^= 0x40; }

}  // namespace

TEST_CASE(
    "a record cut at any byte of its last 4 KiB is detected at replay, and what lies behind it is "
    "found") {
  Rig rig((1U << 20) + 6 * kMinSegmentBytes, kMinSegmentBytes);
  rig.reopen();
  Shard before(1, 2, stampAt(1)), cut(2, 2, stampAt(2)), behind(3, 2, stampAt(3));
  CHECK(rig.append(before) == Status::kOk);
  CHECK(rig.append(cut) == Status::kOk);
  const uint64_t at = recordAt(*rig.disk, cut);
  REQUIRE(at != 0);
  rig.crash();
  const std::vector<uint8_t> whole = rig.disk->bytes;
  std::vector<uint8_t> older(kBlockBytes, 0xee);  // what a recycled segment had there
  for (uint32_t byte = 0; byte < kBlockBytes; ++byte) {
    rig.disk->bytes = whole;
    std::memcpy(rig.disk->bytes.data() + at + 2 * kBlockBytes + byte, older.data() + byte,
                kBlockBytes - byte);
    // Only a cut that changes something is one.
    if (rig.disk->bytes == whole) continue;
    rig.reopen();
    CHECK(rig.lookup(1) == Status::kOk);
    CHECK(rig.lookup(2) == Status::kAbsent);
    CHECK(rig.store->counters().tornRecords == 1);
    if (byte % 512 == 0) {
      CHECK(rig.append(behind) == Status::kOk);
      CHECK(rig.read(before) == Status::kOk);
    }
    rig.store.reset();
  }
}

TEST_CASE("a header cut at any byte is detected at replay") {
  Rig rig((1U << 20) + 6 * kMinSegmentBytes, kMinSegmentBytes);
  rig.reopen();
  CHECK(rig.remove(7, stampAt(5)) == Status::kOk);
  CHECK(rig.remove(8, stampAt(5)) == Status::kOk);
  uint64_t at = 0;
  for (uint64_t block = kDataStart; at == 0; block += kBlockBytes) {
    const auto& head = *reinterpret_cast<const RecordHeader*>(rig.disk->bytes.data() + block);
    if (head.magic == kRecordMagic && std::memcmp(head.meta.key, keyOf(8).data(), 32) == 0)
      at = block;
  }
  rig.crash();
  const std::vector<uint8_t> whole = rig.disk->bytes;
  for (uint32_t byte = 0; byte < sizeof(RecordHeader); ++byte) {
    rig.disk->bytes = whole;
    std::memset(rig.disk->bytes.data() + at + byte, 0xee, kBlockBytes - byte);
    if (std::memcmp(whole.data() + at, rig.disk->bytes.data() + at, sizeof(RecordHeader)) == 0)
      continue;
    rig.reopen();
    uint64_t stamp = 0;
    CHECK(rig.lookup(7, UINT64_MAX, nullptr, &stamp) == Status::kAbsent);
    CHECK(stamp == stampAt(5));
    CHECK(rig.lookup(8, UINT64_MAX, nullptr, &stamp) == Status::kAbsent);
    CHECK(stamp == 0);
    rig.store.reset();
  }
}

TEST_CASE(
    "a newer record behind a bad one is found, and the store may no longer say ABSENT for what it "
    "lost") {
  Rig rig(8U << 20, kSegment);
  rig.reopen();
  Shard first(1, 3, stampAt(1)), lost(2, 3, stampAt(2)), newer(3, 3, stampAt(3)),
      last(4, 1, stampAt(4));
  for (Shard* shard : {&first, &lost, &newer, &last}) CHECK(rig.append(*shard) == Status::kOk);
  const uint64_t at = recordAt(*rig.disk, lost);
  rig.crash();
  const std::vector<uint8_t> whole = rig.disk->bytes;

  SUBCASE("its header is damaged: the key is not known") {
    flip(*rig.disk, at + 40);
    rig.nowMs += 60000;
    rig.reopen();
    CHECK(rig.read(first) == Status::kOk);
    CHECK(rig.read(newer) == Status::kOk);
    CHECK(rig.lookup(2, stampAt(0)) == Status::kUnknown);
    CHECK(rig.lookup(99, stampAt(0)) == Status::kUnknown);
    CHECK(rig.lookup(99, (rig.nowMs + 100000) << 16) == Status::kAbsent);
    CHECK(rig.store->counters().lostRanges == 1);
  }
  SUBCASE("its payload is damaged: the key is known") {
    flip(*rig.disk, at + kBlockBytes + 5);
    rig.reopen();
    CHECK(rig.read(newer) == Status::kOk);
    CHECK(rig.lookup(2) == Status::kUnknown);
    CHECK(rig.read(lost) == Status::kCorrupt);
    CHECK(rig.lookup(99) == Status::kAbsent);
    CHECK(rig.append(lost) == Status::kOk);  // repair
    CHECK(rig.read(lost) == Status::kOk);
  }
  SUBCASE("the device cannot read it") {
    rig.disk->badBlocks.insert(at / kBlockBytes);
    rig.reopen();
    CHECK(rig.read(newer) == Status::kOk);
    CHECK(rig.read(first) == Status::kOk);
    CHECK(rig.lookup(2, stampAt(0)) == Status::kUnknown);
  }
}

TEST_CASE("an old record under a recycled segment is never found") {
  Rig rig(2U << 20, 64U << 10);  // few segments: recycled at once
  rig.options.checkpointEveryBytes = 64U << 10;
  rig.reopen();
  uint64_t number = 0;
  for (int round = 0; round < 60; ++round) {
    ++number;
    Shard shard(number, 3, stampAt(number));
    REQUIRE(rig.append(shard) == Status::kOk);
    REQUIRE(rig.remove(number, stampAt(number)) == Status::kOk);
    rig.idle(10);
  }
  Shard alive(1000, 3, stampAt(1000));
  REQUIRE(rig.append(alive) == Status::kOk);
  CHECK(rig.store->counters().segmentsFreed > 5);
  bool withCheckpoint = true;
  SUBCASE("with the checkpoint") {}
  SUBCASE("without any checkpoint") { withCheckpoint = false; }
  rig.crash();
  if (!withCheckpoint) {
    for (uint64_t at = kDataStart; at < rig.disk->bytes.size(); at += kBlockBytes) {
      auto& chunk = *reinterpret_cast<ChunkHeader*>(rig.disk->bytes.data() + at);
      if (chunk.magic == kChunkMagic) chunk.magic = 0;
    }
  }
  rig.reopen();
  CHECK((rig.store->counters().checkpointFailures > 0) == !withCheckpoint);
  for (uint64_t key = 1; key <= number; ++key)
    REQUIRE(rig.lookup(key, UINT64_MAX) == Status::kAbsent);
  CHECK(rig.read(alive) == Status::kOk);
}

TEST_CASE("a payload that holds a copy of a record is not taken for one") {
  Rig rig(8U << 20, kSegment);
  rig.reopen();
  Shard victim(1, 1, stampAt(1));
  CHECK(rig.append(victim) == Status::kOk);
  const uint64_t at = recordAt(*rig.disk, victim);
  Shard carrier(2, 4, stampAt(2));
  // The header as it would have to read at the place where this payload will lie.
  std::memcpy(carrier.payload.bytes() + kBlockBytes, rig.disk->bytes.data() + at, kBlockBytes);
  carrier.crc();
  CHECK(rig.append(carrier) == Status::kOk);
  CHECK(rig.remove(1, stampAt(9)) == Status::kOk);
  rig.crash();
  rig.reopen();
  CHECK(rig.lookup(1) == Status::kAbsent);
  CHECK(rig.read(carrier) == Status::kOk);
}

TEST_CASE("either superblock alone opens the store; without both it is refused") {
  Rig rig(8U << 20, kSegment);
  rig.reopen();
  Shard shard(1, 2, stampAt(1));
  CHECK(rig.append(shard) == Status::kOk);
  CHECK(rig.close() == Status::kOk);
  flip(*rig.disk, 100);
  rig.reopen();
  CHECK(rig.read(shard) == Status::kOk);
  CHECK(rig.close() == Status::kOk);
  rig.disk->badBlocks.insert(kSecondSuperblock / kBlockBytes);
  rig.reopen();
  CHECK(rig.read(shard) == Status::kOk);
  CHECK(rig.close() == Status::kOk);
  flip(*rig.disk, 100);
  flip(*rig.disk, kSecondSuperblock + 100);
  const auto error = rig.open();
  REQUIRE(error.has_value());
  CHECK(error->code == OpenErrorCode::kDamaged);
}

TEST_CASE("a device of another cluster, node or format is refused and left as it is") {
  Rig rig(8U << 20, kSegment);
  rig.reopen();
  CHECK(rig.close() == Status::kOk);
  const std::vector<uint8_t> before = rig.disk->bytes;
  rig.options.nodeId = "node-2";
  CHECK(rig.open()->code == OpenErrorCode::kForeign);
  rig.options.nodeId = "node-1";
  rig.options.clusterId[3] = 1;
  CHECK(rig.open()->code == OpenErrorCode::kForeign);
  rig.options.clusterId[3] = 0;
  for (const uint64_t at : {uint64_t{0}, kSecondSuperblock}) {
    auto& super = *reinterpret_cast<Superblock*>(rig.disk->bytes.data() + at);
    super.version = 9;
    sealSuperblock(super);
  }
  CHECK(rig.open()->code == OpenErrorCode::kUnknownFormat);
  rig.disk->bytes = before;
  rig.reopen();

  Rig other(8U << 20, kSegment);
  other.disk->bytes[70000] = 1;  // something lies there
  CHECK(other.open()->code == OpenErrorCode::kForeign);
  CHECK(other.disk->bytes[0] == 0);
  other.disk->bytes[70000] = 0;
  other.options.formatIfBlank = false;
  CHECK(other.open()->code == OpenErrorCode::kNotFormatted);
}

TEST_CASE("a damaged checkpoint is as none: everything is rebuilt from the records") {
  Rig rig(8U << 20, kSegment);
  rig.reopen();
  std::vector<Shard> shards;
  for (uint64_t i = 0; i < 60; ++i) shards.emplace_back(i, 1 + i % 5, stampAt(i));
  for (Shard& shard : shards) REQUIRE(rig.append(shard) == Status::kOk);
  CHECK(rig.remove(7, stampAt(1000)) == Status::kOk);
  CHECK(rig.setOwner(5, {{2, 2}, 3, true, {9}, std::nullopt}) == Status::kOk);
  CHECK(rig.run([&](Done done) {
    return rig.store->markDegraded(keyOf(4).data(), shards[4].head().stripeId, 3, done);
  }) == Status::kOk);
  CHECK(rig.close() == Status::kOk);
  uint64_t damaged = 0;
  for (uint64_t at = kDataStart; at < rig.disk->bytes.size(); at += kBlockBytes) {
    const auto& chunk = *reinterpret_cast<const ChunkHeader*>(rig.disk->bytes.data() + at);
    if (chunk.magic == kChunkMagic && chunk.section == kSectionIndex)
      flip(*rig.disk, at + 100 + damaged++);
  }
  REQUIRE(damaged > 0);
  rig.reopen();
  CHECK(rig.store->counters().checkpointFailures == 1);
  for (uint64_t i = 0; i < 60; ++i)
    CHECK(rig.read(shards[i]) == (i == 7 ? Status::kAbsent : Status::kOk));
  CHECK(rig.store->getOwner(ownerOf(5).data())->noteVersion == 1);
  CHECK(rig.store->degraded().size() == 1);
  CHECK(rig.store->super().completeSince == rig.store->super().createdStamp);
}

TEST_CASE("a bad sector under a shard is corrupt, counted, and mended by the next append") {
  Rig rig(8U << 20, kSegment);
  rig.reopen();
  Shard shard(1, 8, stampAt(1));
  CHECK(rig.append(shard) == Status::kOk);
  const uint64_t at = recordAt(*rig.disk, shard);
  rig.disk->badBlocks.insert(at / kBlockBytes + 4);
  CHECK(rig.read(shard, 0, 2 * kBlockBytes) == Status::kOk);
  CHECK(rig.read(shard) == Status::kCorrupt);
  CHECK(rig.lookup(1) == Status::kUnknown);
  CHECK(rig.store->counters().corruptReads == 1);
  CHECK(rig.append(shard) == Status::kOk);
  CHECK(rig.read(shard) == Status::kOk);
}

TEST_CASE("a corrupt shard counts beside a good one of its blob, and alone is no word about it") {
  Rig rig(8U << 20, kSegment);
  rig.reopen();
  Shard good(1, 8, stampAt(1), 1, 0), bad(1, 8, stampAt(1), 1, 1);
  CHECK(rig.append(bad) == Status::kOk);
  const uint64_t badBlock = recordAt(*rig.disk, bad) / kBlockBytes;
  CHECK(rig.append(good) == Status::kOk);
  rig.disk->badBlocks.insert(badBlock + 4);
  CHECK(rig.read(bad) == Status::kCorrupt);
  size_t count = 0;
  CHECK(rig.lookup(1, UINT64_MAX, &count) == Status::kOk);
  CHECK(count == 2);
  constexpr uint64_t kRecordBlocks = 1 + 8;
  rig.disk->badBlocks.insert(badBlock + kRecordBlocks + 4);
  CHECK(rig.read(good) == Status::kCorrupt);
  CHECK(rig.lookup(1, UINT64_MAX, &count) == Status::kUnknown);
  CHECK(count == 0);
}

TEST_CASE(
    "a write error fails the device: reads go on, changes are refused before any byte is taken") {
  Rig rig(8U << 20, kSegment);
  rig.reopen();
  Shard first(1, 2, stampAt(1)), second(2, 2, stampAt(2));
  CHECK(rig.append(first) == Status::kOk);
  rig.disk->writeError = -EIO;
  CHECK(rig.append(second) == Status::kFailed);
  CHECK(rig.store->stats().state == StoreState::kFailed);
  rig.disk->writeError = 0;
  CHECK(rig.append(second) == Status::kFailed);
  CHECK(rig.remove(1, stampAt(3)) == Status::kFailed);
  CHECK(rig.read(first) == Status::kOk);
  CHECK(rig.close() == Status::kFailed);
  rig.reopen();
  CHECK(rig.read(first) == Status::kOk);
}

TEST_CASE("a read-only device says so") {
  Rig rig(8U << 20, kSegment);
  rig.reopen();
  Shard shard(1, 2, stampAt(1));
  rig.disk->writeError = -EROFS;
  CHECK(rig.append(shard) == Status::kReadOnly);
  CHECK(rig.store->stats().state == StoreState::kReadOnly);
  CHECK(rig.append(shard) == Status::kReadOnly);
}

}  // namespace nabu::store::test
