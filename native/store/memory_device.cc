#include "store/memory_device.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

namespace nabu::store {

std::variant<std::unique_ptr<MemoryDevice>, DeviceError> MemoryDevice::open(uint64_t sizeBytes,
                                                                            bool populate) {
  void* at = ::mmap(nullptr, sizeBytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) return DeviceError{DeviceErrorCode::kUnavailable, std::strerror(errno)};
  ::madvise(at, sizeBytes, MADV_HUGEPAGE);  // advice only
  if (populate && ::madvise(at, sizeBytes, MADV_POPULATE_WRITE) != 0) {
    const int why = errno;
    ::munmap(at, sizeBytes);
    return DeviceError{DeviceErrorCode::kUnavailable, std::strerror(why)};
  }
  return std::unique_ptr<MemoryDevice>(new MemoryDevice(static_cast<uint8_t*>(at), sizeBytes));
}

MemoryDevice::~MemoryDevice() { ::munmap(bytes_, sizeBytes_); }

void MemoryDevice::submit(IoRequest& request) {
  request.next = nullptr;
  request.result = 0;
  if (request.kind != IoKind::kFlush) {
    if (request.offset + request.lengthBytes() > sizeBytes_) {
      request.result = -ENOSPC;
    } else {
      uint8_t* at = bytes_ + request.offset;
      for (int i = 0; i < request.iovCount; ++i) {
        const iovec& part = request.iov[i];
        if (request.kind == IoKind::kWrite) {
          std::memcpy(at, part.iov_base, part.iov_len);
        } else {
          std::memcpy(part.iov_base, at, part.iov_len);
        }
        at += part.iov_len;
      }
    }
  }
  if (tail_ != nullptr) {
    tail_->next = &request;
  } else {
    head_ = &request;
  }
  tail_ = &request;
  ++inFlight_;
}

size_t MemoryDevice::poll() {
  // Only what was there at the call: a completion that submits again waits for the next poll.
  IoRequest* at = head_;
  head_ = tail_ = nullptr;
  size_t count = 0;
  while (at != nullptr) {
    IoRequest* next = at->next;
    --inFlight_;
    ++count;
    at->complete(at);
    at = next;
  }
  return count;
}

}  // namespace nabu::store
