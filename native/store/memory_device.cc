#include "store/memory_device.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#ifdef __SSE2__
#include <immintrin.h>
#endif

namespace nabu::store {
namespace {

/** Below this what is written may well be read again before it leaves the caches. */
constexpr size_t kStreamBytes = 64U << 10;

/**
 * Into memory that nobody reads soon: past the caches, so that its old content is not fetched first
 * and nothing else is driven out.
 */
void copyIn(uint8_t* to, const uint8_t* from, size_t length) {
#ifdef __SSE2__
  constexpr size_t kStep = 64;
  const bool aligned = reinterpret_cast<uintptr_t>(to) % kStep == 0 && length % kStep == 0;
  if (length >= kStreamBytes && aligned) {
    for (size_t at = 0; at < length; at += kStep) {
      const auto* in = reinterpret_cast<const __m128i*>(from + at);
      auto* out = reinterpret_cast<__m128i*>(to + at);
      const __m128i a = _mm_loadu_si128(in), b = _mm_loadu_si128(in + 1);
      const __m128i c = _mm_loadu_si128(in + 2), d = _mm_loadu_si128(in + 3);
      _mm_stream_si128(out, a);
      _mm_stream_si128(out + 1, b);
      _mm_stream_si128(out + 2, c);
      _mm_stream_si128(out + 3, d);
    }
    _mm_sfence();
    return;
  }
#endif
  std::memcpy(to, from, length);
}

}  // namespace

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
  std::shared_ptr<uint8_t[]> bytes(static_cast<uint8_t*>(at),
                                   [sizeBytes](uint8_t* mapped) { ::munmap(mapped, sizeBytes); });
  return std::unique_ptr<MemoryDevice>(new MemoryDevice(std::move(bytes), sizeBytes));
}

void MemoryDevice::submit(IoRequest& request) {
  request.next = nullptr;
  request.result = 0;
  if (request.kind != IoKind::kFlush) {
    if (request.offset + request.lengthBytes() > sizeBytes_) {
      request.result = -ENOSPC;
    } else {
      uint8_t* at = bytes_.get() + request.offset;
      for (int i = 0; i < request.iovCount; ++i) {
        const iovec& part = request.iov[i];
        if (request.kind == IoKind::kWrite) {
          copyIn(at, static_cast<const uint8_t*>(part.iov_base), part.iov_len);
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
