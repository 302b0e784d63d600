#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace nabu::store {

enum class IoKind : uint8_t { kRead, kWrite, kFlush };

/** One I/O, owned by its issuer and untouched by it until `complete` is called, always from
 * Device::poll. */
struct IoRequest {
  IoKind kind = IoKind::kRead;
  bool durable = false;  // a write that completes only when it would survive a power loss
  uint8_t iovCount = 0;
  int result = 0;  // 0, or -errno: short transfers are finished by the device
  uint64_t offset = 0;
  iovec iov[2] = {};
  void (*complete)(IoRequest*) = nullptr;
  IoRequest* next = nullptr;  // the device's own
  uint64_t transferred = 0;   // the device's own

  uint64_t lengthBytes() const {
    uint64_t sum = 0;
    for (int i = 0; i < iovCount; ++i) sum += iov[i].iov_len;
    return sum;
  }
  void one(IoKind what, uint64_t at, void* bytes, uint64_t length) {
    kind = what;
    offset = at;
    iovCount = 1;
    iov[0] = {bytes, length};
    transferred = 0;
  }
};

/**
 * Where segments live. Everything is aligned to 4 KiB: offsets, lengths, memory. Single-threaded.
 * A write that completed without `durable` is durable after a flush that was submitted later.
 */
class Device {
 public:
  virtual ~Device() = default;
  virtual uint64_t sizeBytes() const = 0;
  /** Whether blocks must have been written once before overwriting them is fast. */
  virtual bool wantsFirstWrite() const = 0;
  /** Completed writes need a flush (or `durable`) to survive a power loss. */
  virtual bool volatileCache() const = 0;
  virtual void submit(IoRequest& request) = 0;
  /** Hands what was submitted to the kernel, once for many. */
  virtual void kick() = 0;
  /** Completes what has ended; returns how many. */
  virtual size_t poll() = 0;
  /** Blocks until poll has something to do. Returns false when nothing is in flight. */
  virtual bool wait() = 0;
  virtual size_t inFlight() const = 0;
  /** Readable when poll has something to do, or -1. */
  virtual int eventFd() const = 0;
  /** Poll has something to do that the event descriptor does not tell. */
  virtual bool ready() const = 0;
  /** The device as memory, byte for byte what a read brings, for as long as this is held. Null: it
   * is none. */
  virtual std::shared_ptr<const uint8_t[]> mapped() const { return nullptr; }
};

enum class DeviceErrorCode { kUnavailable, kTooSmall, kNotFound, kIo, kBusy, kBadArgument };
struct DeviceError {
  DeviceErrorCode code;
  std::string message;
};

}  // namespace nabu::store
