#include "volume/core/locked_memory.h"

#include <sys/mman.h>

#include <utility>

namespace nabu::volume {

LockedMemory::LockedMemory(std::size_t lengthBytes, SharedMemory from) {
  const int flags = from.fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
  void* at = mmap(nullptr, lengthBytes, PROT_READ | PROT_WRITE, flags | MAP_POPULATE, from.fd,
                  static_cast<off_t>(from.offset));
  if (at == MAP_FAILED) return;
  // Refused above RLIMIT_MEMLOCK without CAP_IPC_LOCK: the pages are there all the same.
  (void)mlock(at, lengthBytes);
  bytes_ = static_cast<std::byte*>(at);
  lengthBytes_ = lengthBytes;
}

LockedMemory::~LockedMemory() {
  if (bytes_ != nullptr) munmap(bytes_, lengthBytes_);
}

LockedMemory::LockedMemory(LockedMemory&& other) noexcept
    : bytes_(std::exchange(other.bytes_, nullptr)),
      lengthBytes_(std::exchange(other.lengthBytes_, 0)) {}

LockedMemory& LockedMemory::operator=(LockedMemory&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  std::swap(lengthBytes_, other.lengthBytes_);
  return *this;
}

}  // namespace nabu::volume
