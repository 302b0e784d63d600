// store_bench [FOLDER]: durable appends and verified random reads of 256 KiB shards at depth 8 on a
// file in FOLDER (default: the current one), beside fio with io_uring and O_DIRECT on another file
// there. Prints one JSON object a line: name, unit, ours, peer, ratio, method. Nothing here asserts
// a time.

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "ec/crc32c.h"
#include "store/store.h"
#include "store/uring_device.h"

namespace nabu::store {
namespace {

constexpr uint32_t kShardBytes = 256U << 10;
constexpr uint32_t kBlocks = kShardBytes / kBlockBytes;
constexpr int kDepth = 8;
constexpr uint64_t kSegment = 128U << 20;
constexpr uint64_t kDeviceBytes = (32U << 20) + 22 * kSegment;
constexpr int kPassShards = 4800;  // 1.2 GiB: a pass fits beside the dead records of the one before
constexpr int kRounds = 8;

double secondsNow() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/** One shard buffer a slot in flight, as a slab has them. */
struct Slot {
  std::vector<uint8_t> meta;
  AlignedBuffer payload;
  AlignedBuffer readOut;
  std::vector<uint8_t> metaOut;
  bool busy = false;
};

class Bench {
 public:
  explicit Bench(const std::string& path) {
    UringOptions device;
    device.path = path;
    device.sizeBytes = kDeviceBytes;
    device.create = true;
    auto made = UringDevice::open(device);
    if (const auto* error = std::get_if<DeviceError>(&made)) fail(error->message);
    StoreOptions options;
    options.nodeId = "bench";
    options.segmentBytes = kSegment;
    options.formatIfBlank = true;
    options.checkpointEveryBytes = kDeviceBytes;  // as rare as it is with large devices
    options.nowMs = [] {
      return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                       std::chrono::system_clock::now().time_since_epoch())
                                       .count());
    };
    auto opened = Store::open(std::move(std::get<0>(made)), options);
    if (const auto* error = std::get_if<OpenError>(&opened)) fail(error->message);
    store_ = std::move(std::get<0>(opened));
    std::mt19937_64 random(1);
    for (int i = 0; i < kDepth; ++i) {
      Slot& slot = slots_[i];
      slot.payload = AlignedBuffer(kShardBytes);
      for (uint64_t at = 0; at < kShardBytes; at += 8) slot.payload.as<uint64_t>(at) = random();
      slot.meta.resize(sizeof(ShardMeta) + 4 * kBlocks);
      slot.metaOut.resize(slot.meta.size());
      slot.readOut = AlignedBuffer(kShardBytes);
      ShardMeta meta{};
      meta.magic = kShardMetaMagic;
      meta.version = kShardMetaVersion;
      meta.k = 4;
      meta.m = 2;
      meta.kind = kShard;
      meta.shardLength = kShardBytes;
      meta.blobLength = 4 * kShardBytes;
      meta.crcCount = kBlocks;
      meta.owner[0] = 1;
      std::memcpy(slot.meta.data(), &meta, sizeof meta);
      ec::crc32cBlocks(slot.payload.bytes(), kShardBytes,
                       reinterpret_cast<uint32_t*>(slot.meta.data() + sizeof meta));
    }
  }

  /** Seconds of kPassShards durable appends. */
  double appendPass() {
    ++pass_;
    return run([this](Slot& slot, int number, Done done) {
      auto& meta = *reinterpret_cast<ShardMeta*>(slot.meta.data());
      nameOf(number, meta.key);
      meta.stamp = pass_;
      return store_->append(slot.meta.data(), slot.meta.size(), slot.payload.bytes(), kShardBytes,
                            done);
    });
  }

  double readPass() {
    std::mt19937 random(7);
    return run([this, &random](Slot& slot, int, Done done) {
      uint8_t key[32] = {};
      nameOf(static_cast<int>(random() % kPassShards), key);
      ReadRequest request;
      request.key = key;
      request.payload = slot.readOut.bytes();
      request.payloadCapacity = kShardBytes;
      request.metaOut = slot.metaOut.data();
      request.metaCapacity = slot.metaOut.size();
      return store_->read(request, done);
    });
  }

  /** Drops all of it and waits until its segments can be used again. */
  void forget() {
    uint8_t owner[16] = {1};
    OwnerRule rule;
    rule.stamp = pass_;
    wait([&](Done done) { return store_->removeOwnerRange(owner, rule, done); });
    for (int i = 0; i < 200; ++i) store_->poll();
    wait([&](Done done) { return store_->checkpoint(done); });
    const auto begun = secondsNow();
    while (secondsNow() < begun + 0.3) {
      store_->poll();
      ::usleep(1000);
    }
  }
  Store& store() { return *store_; }

  [[noreturn]] static void fail(const std::string& what) {
    std::fprintf(stderr, "store_bench: %s\n", what.c_str());
    std::exit(1);
  }

 private:
  void nameOf(int number, uint8_t* key) const {
    std::memset(key, 0, 32);
    const uint64_t name = (static_cast<uint64_t>(pass_) << 32) | static_cast<uint32_t>(number);
    std::memcpy(key, &name, 8);
  }
  static void ended(void* context, uint64_t token, Status status, uint64_t) {
    auto* bench = static_cast<Bench*>(context);
    if (status != Status::kOk)
      fail("operation ended with status " + std::to_string(static_cast<int>(status)));
    bench->slots_[token].busy = false;
    --bench->inFlight_;
  }
  template <class Call>
  void wait(Call&& call) {
    slots_[0].busy = true;
    ++inFlight_;
    const Status status = call(Done{ended, this, 0});
    if (status != Status::kPending) ended(this, 0, status, 0);
    while (inFlight_ > 0) {
      store_->kick();
      store_->device().wait();
      store_->poll();
    }
  }
  template <class Start>
  double run(Start&& start) {
    const double begun = secondsNow();
    int started = 0;
    while (started < kPassShards || inFlight_ > 0) {
      for (int i = 0; i < kDepth && started < kPassShards; ++i) {
        if (slots_[i].busy) continue;
        slots_[i].busy = true;
        ++inFlight_;
        const Status status =
            start(slots_[i], started++, Done{ended, this, static_cast<uint64_t>(i)});
        if (status != Status::kPending) ended(this, static_cast<uint64_t>(i), status, 0);
      }
      store_->kick();
      store_->device().wait();
      store_->poll();
    }
    return secondsNow() - begun;
  }

  std::unique_ptr<Store> store_;
  Slot slots_[kDepth];
  uint64_t pass_ = 0;
  int inFlight_ = 0;
};

/** GB/s of fio, or 0 when it is not there. */
double fio(const std::string& file, const std::string& arguments) {
  const uint64_t span = static_cast<uint64_t>(kPassShards) * kShardBytes;
  const std::string command =
      "fio --name=peer --filename='" + file + "' --size=" + std::to_string(span) +
      " --bs=256k --iodepth=8 --ioengine=io_uring --direct=1 --randrepeat=0 "
      "--output-format=terse --terse-version=3 " +
      arguments + " 2>/dev/null";
  std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(command.c_str(), "r"), ::pclose);
  if (!pipe) return 0;
  std::string text;
  char piece[4096];
  for (size_t got = 0; (got = std::fread(piece, 1, sizeof piece, pipe.get())) > 0;)
    text.append(piece, got);
  std::vector<std::string> fields(1);
  for (const char c : text) {
    if (c == ';') {
      fields.emplace_back();
    } else {
      fields.back() += c;
    }
  }
  if (fields.size() < 50) return 0;
  const bool write = arguments.find("write") != std::string::npos;
  return std::strtod(fields[write ? 47 : 6].c_str(), nullptr) * 1024 / 1e9;  // KiB/s
}

void row(const char* name, double ours, double peer, const std::string& method) {
  std::printf(
      "{\"name\":\"%s\",\"unit\":\"GB/"
      "s\",\"ours\":%.3f,\"peer\":%.3f,\"ratio\":%.3f,\"method\":\"%s\"}\n",
      name, ours, peer, peer > 0 ? ours / peer : 0.0, method.c_str());
  std::fflush(stdout);
}

int main(const std::string& folder) {
  const std::filesystem::path place =
      std::filesystem::path(folder) / ("store-bench-" + std::to_string(::getpid()));
  std::filesystem::create_directories(place);
  struct Remove {
    std::filesystem::path path;
    ~Remove() { std::filesystem::remove_all(path); }
  } remove{place};
  const std::string peerFile = place / "peer.img";
  if (fio(peerFile, "--rw=write --end_fsync=1") == 0)
    Bench::fail("fio does not run here (package fio)");
  Bench bench(place / "device.img");
  // Every segment is written once, then recycled: the steady state.
  for (int i = 0; i < 3; ++i) {
    bench.appendPass();
    bench.forget();
  }
  const double bytes = static_cast<double>(kPassShards) * kShardBytes / 1e9;
  std::vector<double> appends, fdatasync, dsync, reads, peerReads;
  for (int round = 0; round < kRounds; ++round) {
    appends.push_back(bytes / bench.appendPass());
    fdatasync.push_back(fio(peerFile, "--rw=write --overwrite=1 --fdatasync=1"));
    dsync.push_back(fio(peerFile, "--rw=write --overwrite=1 --sync=dsync"));
    // The same file, and first one and then the other begins: what the machine below holds in its
    // own cache is then the same for both.
    if (round % 2 == 0) reads.push_back(bytes / bench.readPass());
    peerReads.push_back(fio(place / "device.img", "--rw=randread --readonly"));
    if (round % 2 == 1) reads.push_back(bytes / bench.readPass());
    bench.forget();
  }
  const bool dsyncFaster = median(dsync) > median(fdatasync);
  const std::string common = "median of " + std::to_string(kRounds) + " interleaved rounds of " +
                             std::to_string(kPassShards) +
                             " x 256 KiB at depth 8, one thread; peer fio io_uring O_DIRECT ";
  row("store.append.256KiB", median(appends), std::max(median(dsync), median(fdatasync)),
      common + "overwriting a written file, " + (dsyncFaster ? "O_DSYNC" : "fdatasync per write") +
          " (the faster of both); ours checks and writes CRC32C, 4 KiB header per shard");
  row("store.read.256KiB", median(reads), median(peerReads),
      common + "random reads of the same file; ours verifies every CRC32C");
  return 0;
}

}  // namespace
}  // namespace nabu::store

int main(int argc, char** argv) { return nabu::store::main(argc > 1 ? argv[1] : "."); }
