#pragma once

#include <span>
#include <string>
#include <string_view>

#include "ec/kernel.h"
#include "ec/result.h"

namespace nabu::ec {

struct DriverStatus {
  std::string name;
  bool available;
  /** Why not, when it is not. */
  std::string reason;
};

/** Every kernel, fastest first, probed and self-checked at the first call of this process. */
std::span<const DriverStatus> drivers();

/**
 * The kernel of that name, or the fastest available one for "auto".
 * @returns kBadArgument for an unknown name, kDriverUnavailable with what is missing,
 * kSelfCheckFailed.
 */
Result<const Kernel*> selectKernel(std::string_view driver);

/** Compares a kernel with the scalar one on seeded bytes, over several codes, lengths and
 * alignments. Empty when equal. */
std::string selfCheck(const Kernel& kernel);

}  // namespace nabu::ec
