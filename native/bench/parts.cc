// The CPU parts of a blob put or get, each alone: what blob.put.memory and blob.get.memory are
// measured beside.
//
//   bench_parts K M BLOB_BYTES
//     for each line "N" on stdin: N blobs through each part; prints CPU seconds per GB of blob
//     data:
//     {"encode":..,"crcStripe":..,"crcBlob":..}   crcStripe: one CRC32C of all k + m shards,
//     crcBlob: of k shards

#include <sys/resource.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <vector>

#include "ec/coder.h"
#include "ec/crc32c.h"
#include "ec/stripe.h"

namespace {

constexpr size_t kBlockBytes = 4096;
constexpr size_t kStripes = 16;  // as many blobs as are in flight: no cache holds them all

struct FreeDeleter {
  void operator()(uint8_t* p) const { std::free(p); }
};

double cpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + t.tv_usec / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

class Parts {
 public:
  Parts(const nabu::ec::Coder& coder, size_t blobBytes)
      : coder_(coder),
        blobBytes_(blobBytes),
        shardBytes_(nabu::ec::shardLengthOf(blobBytes, coder_.dataShards())),
        stripeBytes_(shardBytes_ * static_cast<size_t>(coder_.totalShards())),
        memory_(static_cast<uint8_t*>(std::aligned_alloc(kBlockBytes, stripeBytes_ * kStripes))),
        crcs_(stripeBytes_ / kBlockBytes) {
    if (!memory_) std::abort();
    std::mt19937_64 random(1);
    for (size_t at = 0; at < stripeBytes_ * kStripes; at += sizeof(uint64_t)) {
      const uint64_t word = random();
      std::memcpy(memory_.get() + at, &word, sizeof(word));
    }
  }

  void measure(int blobs) {
    const double encode = secondsPerGb(blobs, [this](uint8_t* stripe) {
      std::vector<const uint8_t*> data;
      std::vector<uint8_t*> parity;
      for (int i = 0; i < coder_.totalShards(); ++i) {
        uint8_t* shard = stripe + static_cast<size_t>(i) * shardBytes_;
        if (i < coder_.dataShards()) {
          data.push_back(shard);
        } else {
          parity.push_back(shard);
        }
      }
      coder_.encode(data.data(), parity.data(), shardBytes_);
    });
    const double crcStripe = secondsPerGb(blobs, [this](uint8_t* stripe) {
      nabu::ec::crc32cBlocks(stripe, stripeBytes_, crcs_.data());
    });
    const double crcBlob = secondsPerGb(blobs, [this](uint8_t* stripe) {
      nabu::ec::crc32cBlocks(stripe, shardBytes_ * static_cast<size_t>(coder_.dataShards()),
                             crcs_.data());
    });
    std::printf("{\"encode\":%.6f,\"crcStripe\":%.6f,\"crcBlob\":%.6f}\n", encode, crcStripe,
                crcBlob);
    std::fflush(stdout);
  }

 private:
  double secondsPerGb(int blobs, const std::function<void(uint8_t*)>& part) {
    const double start = cpuSeconds();
    for (int i = 0; i < blobs; ++i)
      part(memory_.get() + (static_cast<size_t>(i) % kStripes) * stripeBytes_);
    return (cpuSeconds() - start) /
           (static_cast<double>(blobs) * static_cast<double>(blobBytes_) / 1e9);
  }

  nabu::ec::Coder coder_;
  size_t blobBytes_;
  size_t shardBytes_;
  size_t stripeBytes_;
  std::unique_ptr<uint8_t, FreeDeleter> memory_;
  std::vector<uint32_t> crcs_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: bench_parts K M BLOB_BYTES\n");
    return 64;
  }
  const size_t blobBytes = std::strtoull(argv[3], nullptr, 10);
  nabu::ec::Result<nabu::ec::Coder> coder =
      nabu::ec::Coder::create(std::atoi(argv[1]), std::atoi(argv[2]));
  if (!coder.ok()) {
    std::fprintf(stderr, "bench_parts: %s\n", coder.error().message.c_str());
    return 1;
  }
  Parts parts(coder.value(), blobBytes);
  char line[64];
  while (std::fgets(line, sizeof(line), stdin) != nullptr)
    parts.measure(std::max(1, std::atoi(line)));
  return 0;
}
