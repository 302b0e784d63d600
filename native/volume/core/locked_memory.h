#pragma once

#include <cstddef>
#include <span>

namespace nabu::volume {

// A part of a memfd whose pages somebody keeps: to take them again is much faster than to take new
// ones.
struct SharedMemory {
  int fd = -1;  // -1: anonymous memory instead
  std::size_t offset = 0;
};

// Memory, faulted in and locked where permitted. What the kernel copies into or out of
// must be like that: a SIGKILL while it waits for a page of ours turns the request into an I/O
// error, and memory that is first taken under memory pressure may never come.
class LockedMemory {
 public:
  LockedMemory() = default;
  /** Empty (bytes() == nullptr) when there is no memory. */
  explicit LockedMemory(std::size_t lengthBytes, SharedMemory from = {});
  ~LockedMemory();
  LockedMemory(LockedMemory&& other) noexcept;
  LockedMemory& operator=(LockedMemory&& other) noexcept;

  std::byte* bytes() const { return bytes_; }
  std::size_t lengthBytes() const { return lengthBytes_; }

 private:
  std::byte* bytes_ = nullptr;
  std::size_t lengthBytes_ = 0;
};

}  // namespace nabu::volume
