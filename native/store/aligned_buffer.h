#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#include "store/include/shard_meta.h"

namespace nabu::store {

constexpr uint64_t roundUp(uint64_t value, uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}

constexpr uint32_t blocksOf(uint64_t bytes) {
  return static_cast<uint32_t>((bytes + kBlockBytes - 1) / kBlockBytes);
}

/** Zeroed memory on a 4 KiB boundary, as direct I/O wants it. */
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(uint64_t sizeBytes) { resize(sizeBytes); }

  /** Keeps the memory when it is large enough; the content is undefined afterwards. */
  void ensure(uint64_t sizeBytes) {
    if (size_ < sizeBytes) resize(sizeBytes);
  }
  uint8_t* bytes() { return bytes_.get(); }
  const uint8_t* bytes() const { return bytes_.get(); }
  uint64_t sizeBytes() const { return size_; }
  void zero() { std::memset(bytes_.get(), 0, size_); }
  template <class T>
  T& as(uint64_t offset = 0) {
    return *reinterpret_cast<T*>(bytes_.get() + offset);
  }

 private:
  struct Free {
    void operator()(uint8_t* at) const { std::free(at); }
  };
  void resize(uint64_t sizeBytes) {
    size_ = roundUp(sizeBytes == 0 ? 1 : sizeBytes, kBlockBytes);
    bytes_.reset(static_cast<uint8_t*>(std::aligned_alloc(kBlockBytes, size_)));
    if (!bytes_) throw std::bad_alloc();
    zero();
  }

  std::unique_ptr<uint8_t, Free> bytes_;
  uint64_t size_ = 0;
};

}  // namespace nabu::store
