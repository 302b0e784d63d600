#include "ec/coder.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "ec/dispatch.h"

namespace nabu::ec {
namespace {

// From here on parity written through the caches only evicts what is needed next. Measured: at 1
// MiB a stripe in L2 and L3 streaming costs a tenth, beyond L3 it gains a third.
constexpr size_t kStreamingBytes = size_t{24} << 20;

}  // namespace

Result<Coder> Coder::create(int dataShards, int parityShards, std::string_view driver,
                            size_t workingSetBytes) {
  if (dataShards < 1 || dataShards > kMaxDataShards) {
    return Error{ErrorCode::kBadArgument,
                 "k must be 1 to 16 data shards, not " + std::to_string(dataShards)};
  }
  if (parityShards < 0 || parityShards > kMaxParityShards) {
    return Error{ErrorCode::kBadArgument,
                 "m must be 0 to 8 parity shards, not " + std::to_string(parityShards)};
  }
  const Result<const Kernel*> kernel = selectKernel(driver);
  if (!kernel.ok()) return kernel.error();
  return Coder(dataShards, parityShards, kernel.value(), workingSetBytes);
}

Coder::Coder(int dataShards, int parityShards, const Kernel* kernel, size_t workingSetBytes)
    : dataShards_(dataShards),
      parityShards_(parityShards),
      kernel_(kernel),
      workingSetBytes_(workingSetBytes) {
  kernel_->prepare(parityMatrix(dataShards, parityShards), tables_);
}

Stores Coder::storesFor(size_t bytes) const {
  return std::max(bytes, workingSetBytes_) >= kStreamingBytes ? Stores::kStreaming
                                                              : Stores::kCached;
}

void Coder::encode(const uint8_t* const* data, uint8_t* const* parity, size_t length) const {
  if (parityShards_ == 0 || length == 0) return;
  const Stores stores = storesFor(length * static_cast<size_t>(totalShards()));
  kernel_->multiply(tables_, length, data, parity, stores);
}

Result<std::monostate> Coder::reconstruct(uint8_t* const* shards, uint32_t presentMask,
                                          uint32_t wantedMask, size_t length) const {
  const Result<DecodePlan> planned =
      planDecode(dataShards_, parityShards_, presentMask, wantedMask);
  if (!planned.ok()) return planned.error();
  const DecodePlan& plan = planned.value();
  if (plan.coefficients.rows == 0 || length == 0) return std::monostate{};

  const uint8_t* inputs[kMaxDataShards];
  uint8_t* outputs[kMaxParityShards];
  for (int c = 0; c < dataShards_; ++c) inputs[c] = shards[plan.inputs[c]];
  for (int r = 0; r < plan.coefficients.rows; ++r) outputs[r] = shards[plan.outputs[r]];
  Tables tables;
  kernel_->prepare(plan.coefficients, tables);
  const auto touched = static_cast<size_t>(dataShards_ + plan.coefficients.rows);
  kernel_->multiply(tables, length, inputs, outputs, storesFor(length * touched));
  return std::monostate{};
}

int Coder::verify(const uint8_t* const* shards, size_t length) const {
  alignas(64) uint8_t scratch[kMaxParityShards][kBlockBytes];
  const uint8_t* data[kMaxDataShards];
  uint8_t* parity[kMaxParityShards];
  for (int r = 0; r < parityShards_; ++r) parity[r] = scratch[r];
  int firstBad = parityShards_;
  for (size_t at = 0; at < length; at += kBlockBytes) {
    const size_t step = std::min(kBlockBytes, length - at);
    for (int c = 0; c < dataShards_; ++c) data[c] = shards[c] + at;
    kernel_->multiply(tables_, step, data, parity, Stores::kCached);
    for (int r = 0; r < firstBad; ++r) {
      if (std::memcmp(parity[r], shards[dataShards_ + r] + at, step) != 0) firstBad = r;
    }
  }
  return firstBad == parityShards_ ? -1 : firstBad;
}

}  // namespace nabu::ec
