#include "ec/dispatch.h"

#include <algorithm>
#include <random>
#include <utility>
#include <vector>

namespace nabu::ec {
namespace {

struct Probed {
  const Kernel* kernel;
  ErrorCode failure;
};

struct Registry {
  std::vector<DriverStatus> statuses;
  std::vector<Probed> kernels;
};

const Registry& registry() {
  static const Registry instance = [] {
    Registry r;
    for (const Kernel* kernel : {
#if defined(__x86_64__)
           &kGfniKernel, &kAvx2Kernel,
#endif
               &kIsalKernel, &kScalarKernel
         }) {
      std::string reason = kernel->missing();
      ErrorCode failure = ErrorCode::kDriverUnavailable;
      if (reason.empty()) {
        reason = selfCheck(*kernel);
        failure = ErrorCode::kSelfCheckFailed;
      }
      r.statuses.push_back({kernel->name, reason.empty(), reason});
      r.kernels.push_back({kernel, failure});
    }
    return r;
  }();
  return instance;
}

}  // namespace

std::span<const DriverStatus> drivers() { return registry().statuses; }

Result<const Kernel*> selectKernel(std::string_view driver) {
  const Registry& r = registry();
  std::string known;
  for (size_t i = 0; i < r.kernels.size(); ++i) {
    const DriverStatus& status = r.statuses[i];
    // A kernel that computes wrong bytes says that this processor or build cannot be trusted: not a
    // thing to route around in silence, also when nobody asked for that kernel by name.
    const bool broken = !status.available && r.kernels[i].failure == ErrorCode::kSelfCheckFailed;
    if (driver == status.name || (driver == "auto" && (status.available || broken))) {
      if (status.available) return r.kernels[i].kernel;
      return Error{r.kernels[i].failure,
                   "erasure coding driver " + status.name + " is not available: " + status.reason};
    }
    known += ", " + status.name;
  }
  return Error{ErrorCode::kBadArgument,
               "driver '" + std::string(driver) + "' is not one of auto" + known};
}

std::string selfCheck(const Kernel& kernel) {
  struct Shape {
    int k;
    int m;
  };
  constexpr Shape kShapes[] = {{1, 1}, {2, 1}, {3, 5}, {4, 2}, {7, 3}, {8, 2}, {10, 4}, {16, 8}};
  constexpr size_t kLengths[] = {1, 63, 64, 127, 192, 1031, 4096};
  constexpr size_t kRoomBytes = 4096 + 64;
  std::mt19937_64 random(0x6e616275);
  // Rooms start on 64-byte boundaries so that streaming stores are taken, and are checked too.
  struct alignas(64) Line {
    uint8_t bytes[64];
  };
  std::vector<Line> lines(kRoomBytes / 64 * (kMaxDataShards + 2 * kMaxParityShards));
  uint8_t* const rooms = lines.front().bytes;
  std::generate(rooms, rooms + lines.size() * 64, [&] { return static_cast<uint8_t>(random()); });
  for (const Shape& shape : kShapes) {
    const Coefficients matrix = parityMatrix(shape.k, shape.m);
    Tables wantTables;
    Tables gotTables;
    kScalarKernel.prepare(matrix, wantTables);
    kernel.prepare(matrix, gotTables);
    for (const size_t length : kLengths) {
      for (const size_t shift : {size_t{0}, size_t{7}}) {
        const uint8_t* in[kMaxDataShards];
        uint8_t* want[kMaxParityShards];
        uint8_t* got[kMaxParityShards];
        uint8_t* next = rooms + shift;
        const auto take = [&next] { return std::exchange(next, next + kRoomBytes); };
        std::generate(in, in + shape.k, take);
        std::generate(want, want + shape.m, take);
        std::generate(got, got + shape.m, take);
        kScalarKernel.multiply(wantTables, length, in, want, Stores::kCached);
        for (const Stores stores : {Stores::kCached, Stores::kStreaming}) {
          kernel.multiply(gotTables, length, in, got, stores);
          for (int r = 0; r < shape.m; ++r) {
            if (std::equal(want[r], want[r] + length, got[r])) continue;
            return std::string("kernel ") + kernel.name + " failed its self check: parity " +
                   std::to_string(r) + " of " + std::to_string(shape.k) + "+" +
                   std::to_string(shape.m) + " over " + std::to_string(length) +
                   " bytes differs from the scalar reference";
          }
        }
      }
    }
  }
  return {};
}

}  // namespace nabu::ec
