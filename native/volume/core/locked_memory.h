#pragma once

#include <cstddef>
#include <span>

namespace nabu::volume {

// Anonymous memory, faulted in and locked where permitted. What the kernel copies into or out of
// must be like that: a SIGKILL while it waits for a page of ours turns the request into an I/O
// error, and memory that is first taken under memory pressure may never come.
class LockedMemory {
 public:
  LockedMemory() = default;
  /** Empty (bytes() == nullptr) when there is no memory. */
  explicit LockedMemory(std::size_t lengthBytes);
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
