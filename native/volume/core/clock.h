#pragma once

#include <chrono>
#include <cstdint>

namespace nabu::volume {

inline std::uint64_t monotonicNs() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                        std::chrono::steady_clock::now().time_since_epoch())
                                        .count());
}

}  // namespace nabu::volume
