// Prints one JSON object a line: name, unit, ours, peer, ratio, method. Nothing here asserts a
// time.

#include <isa-l/crc.h>
#include <isa-l/erasure_code.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "ec/coder.h"
#include "ec/crc32c.h"
#include "ec/stripe.h"
#include "ec/xxh3.h"

namespace nabu::ec {
namespace {

constexpr size_t kBlobBytes = size_t{1} << 20;
constexpr int kWarmRounds = 200;
constexpr int kRounds = 3000;
constexpr size_t kColdStripes = 192;  // 288 MiB: beyond the last level cache of one core complex
constexpr int kColdRounds = 9;

double secondsNow() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

struct FreeDeleter {
  void operator()(uint8_t* p) const { std::free(p); }
};
using Buffer = std::unique_ptr<uint8_t, FreeDeleter>;

Buffer randomBuffer(size_t bytes) {
  Buffer buffer(static_cast<uint8_t*>(std::aligned_alloc(4096, bytes)));
  if (!buffer) std::abort();
  std::mt19937_64 random(1);
  for (size_t at = 0; at < bytes; at += sizeof(uint64_t)) {
    const uint64_t word = random();
    std::memcpy(buffer.get() + at, &word, sizeof(word));
  }
  return buffer;
}

/** Seconds of one call of each, measured in turns so that both see the same machine. */
struct Pair {
  double ours;
  double peer;
};

Pair interleave(const std::function<void()>& ours, const std::function<void()>& peer) {
  std::vector<double> oursSeconds;
  std::vector<double> peerSeconds;
  for (int round = 0; round < kWarmRounds + kRounds; ++round) {
    for (const auto* side : {&ours, &peer}) {
      (*side)();  // brings its own buffers back into the caches
      const double start = secondsNow();
      (*side)();
      const double seconds = secondsNow() - start;
      if (round >= kWarmRounds) (side == &ours ? oursSeconds : peerSeconds).push_back(seconds);
    }
  }
  return {median(oursSeconds), median(peerSeconds)};
}

/** The same for work on stripe i of a ring that no cache holds: seconds a stripe. */
Pair interleaveCold(const std::function<void(size_t)>& ours,
                    const std::function<void(size_t)>& peer) {
  std::vector<double> oursSeconds;
  std::vector<double> peerSeconds;
  for (int round = 0; round <= kColdRounds; ++round) {
    for (const auto* side : {&ours, &peer}) {
      const double start = secondsNow();
      for (size_t i = 0; i < kColdStripes; ++i) (*side)(i);
      const double seconds = (secondsNow() - start) / static_cast<double>(kColdStripes);
      if (round > 0) (side == &ours ? oursSeconds : peerSeconds).push_back(seconds);
    }
  }
  return {median(oursSeconds), median(peerSeconds)};
}

void print(const std::string& name, const Pair& seconds, const std::string& method) {
  const double gigabytes = static_cast<double>(kBlobBytes) / 1e9;
  std::printf(
      "{\"name\":\"%s\",\"unit\":\"GB/s\",\"ours\":%.2f,\"peer\":%.2f,\"ratio\":%.3f,"
      "\"method\":\"%s\"}\n",
      name.c_str(), gigabytes / seconds.ours, gigabytes / seconds.peer, seconds.peer / seconds.ours,
      method.c_str());
  std::fflush(stdout);
}

Coder makeCoder(int k, int m, size_t workingSetBytes) {
  Result<Coder> coder = Coder::create(k, m, "auto", workingSetBytes);
  if (!coder.ok()) {
    std::fprintf(stderr, "ec_bench: %s\n", coder.error().message.c_str());
    std::exit(1);
  }
  return coder.value();
}

struct Bench {
  int k;
  int m;
  size_t shardLength;
  size_t stripeBytes;
  Buffer stripes;
  Buffer peerStripes;  // the peer's own memory, so that neither warms the other's
  Buffer copy;
  std::vector<unsigned char> tables;
  std::vector<uint32_t> crcs;

  Bench(int k_, int m_)
      : k(k_),
        m(m_),
        shardLength(kBlobBytes / static_cast<size_t>(k)),
        stripeBytes(shardLength * static_cast<size_t>(k + m)),
        stripes(randomBuffer(stripeBytes * kColdStripes)),
        peerStripes(randomBuffer(stripeBytes * kColdStripes)),
        copy(randomBuffer(kBlobBytes * kColdStripes)),
        tables(32 * static_cast<size_t>(k * m)),
        crcs(stripeBytes / kBlockBytes) {
    Coefficients matrix = parityMatrix(k, m);
    ec_init_tables(k, m, matrix.values.data(), tables.data());
  }

  std::string code() const { return std::to_string(k) + "+" + std::to_string(m); }

  std::vector<uint8_t*> shardsOf(const Buffer& from, size_t stripe) const {
    std::vector<uint8_t*> shards;
    for (int s = 0; s < k + m; ++s) {
      shards.push_back(from.get() + stripe * stripeBytes + static_cast<size_t>(s) * shardLength);
    }
    return shards;
  }

  void isal(const std::vector<uint8_t*>& shards) {
    auto** pointers = const_cast<unsigned char**>(shards.data());
    ec_encode_data(static_cast<int>(shardLength), k, m, tables.data(), pointers, pointers + k);
  }

  /** Same data, same coefficients: same parity, or the comparison means nothing. */
  void checkEqual(const Coder& coder) {
    const auto ours = shardsOf(stripes, 0);
    const auto theirs = shardsOf(peerStripes, 0);
    coder.encode(ours.data(), ours.data() + k, shardLength);
    isal(theirs);
    if (std::memcmp(stripes.get(), peerStripes.get(), stripeBytes) == 0) return;
    std::fprintf(stderr, "ec_bench: our parity is not ISA-L's\n");
    std::exit(1);
  }

  void encode() {
    const std::string driver = makeCoder(k, m, 0).driver();
    const std::string warm = "driver " + driver +
                             ", 1 MiB of data a stripe, one core, buffers in cache, median of " +
                             std::to_string(kRounds) + " interleaved calls";
    const Coder coder = makeCoder(k, m, 0);
    checkEqual(coder);
    const auto ours = shardsOf(stripes, 0);
    const auto theirs = shardsOf(peerStripes, 0);
    const auto encodeOurs = [&] { coder.encode(ours.data(), ours.data() + k, shardLength); };
    print("ec.encode." + code() + ".isal", interleave(encodeOurs, [&] { isal(theirs); }),
          warm + "; peer: ISA-L ec_encode_data, same matrix, parity compared");
    print("ec.encode." + code() + ".memcpy",
          interleave(encodeOurs, [&] { std::memcpy(copy.get(), peerStripes.get(), kBlobBytes); }),
          warm + "; peer: memcpy of the data");

    const Coder cold = makeCoder(k, m, stripeBytes * kColdStripes);
    const std::string ring = "driver " + driver + ", " + std::to_string(kColdStripes) +
                             " stripes of 1 MiB in turn, beyond L3, streaming stores, one core, "
                             "median of " +
                             std::to_string(kColdRounds) + " interleaved walks";
    const auto encodeCold = [&](size_t i) {
      const auto shards = shardsOf(stripes, i);
      cold.encode(shards.data(), shards.data() + k, shardLength);
    };
    print("ec.encode." + code() + ".isal.cold",
          interleaveCold(encodeCold, [&](size_t i) { isal(shardsOf(peerStripes, i)); }),
          ring + "; peer: ISA-L ec_encode_data");
    print("ec.encode." + code() + ".memcpy.cold",
          interleaveCold(encodeCold,
                         [&](size_t i) {
                           std::memcpy(copy.get() + i * kBlobBytes,
                                       peerStripes.get() + i * stripeBytes, kBlobBytes);
                         }),
          ring + "; peer: memcpy of the data");
  }

  void decodeTwoLost() {
    const Coder coder = makeCoder(k, m, 0);
    const auto ours = shardsOf(stripes, 0);
    const auto theirs = shardsOf(peerStripes, 0);
    coder.encode(ours.data(), ours.data() + k, shardLength);
    const uint32_t lost = 0b0101;
    const uint32_t present = ((1u << (k + m)) - 1) & ~lost;
    const Pair seconds = interleave(
        [&] {
          if (!coder.reconstruct(ours.data(), present, lost, shardLength).ok()) std::abort();
        },
        [&] { coder.encode(theirs.data(), theirs.data() + k, shardLength); });
    if (coder.verify(ours.data(), shardLength) != -1) std::abort();
    print("ec.decode." + code() + ".two-lost", seconds,
          std::string("driver ") + coder.driver() +
              ", data shards 0 and 2 rebuilt, 1 MiB of data, one core, in cache, plan made in each "
              "call, result verified; peer: our encode of the same stripe");
  }

  void wholeStripe() {
    const Coder coder = makeCoder(k, m, 0);
    const auto theirs = shardsOf(peerStripes, 0);
    const Pair seconds = interleave(
        [&] { encodeStripe(coder, stripes.get(), shardLength, kBlobBytes, crcs.data()); },
        [&] {
          isal(theirs);
          for (size_t b = 0; b < crcs.size(); ++b) {
            crcs[b] = ~crc32_iscsi(peerStripes.get() + b * kBlockBytes, kBlockBytes, ~0u);
          }
          stripeHash(peerStripes.get(), kBlobBytes, k, m);
        });
    print("ec.stripe." + code(), seconds,
          "parity, CRC32C of every 4 KiB of all shards and XXH3-128 of the blob, 1 MiB, one core, "
          "in cache; peer: the same by ISA-L encode, then ISA-L CRC32C, then XXH3");
  }
};

void checksums() {
  const Buffer bytes = randomBuffer(kBlobBytes);
  std::vector<uint32_t> crcs(kBlobBytes / kBlockBytes);
  print("ec.crc32c",
        interleave([&] { crc32cBlocks(bytes.get(), kBlobBytes, crcs.data()); },
                   [&] {
                     for (size_t b = 0; b < crcs.size(); ++b) {
                       crcs[b] = ~crc32_iscsi(bytes.get() + b * kBlockBytes, kBlockBytes, ~0u);
                     }
                   }),
        std::string("kernel ") + crc32cKernel().name +
            ", each 4 KiB of 1 MiB, one core, in cache; peer: ISA-L crc32_iscsi");
}

}  // namespace
}  // namespace nabu::ec

int main() {
  for (const int k : {4, 8}) {
    nabu::ec::Bench bench(k, 2);
    bench.encode();
    if (k == 4) bench.decodeTwoLost();
    bench.wholeStripe();
  }
  nabu::ec::checksums();
  return 0;
}
