#pragma once

#include <liburing.h>

#include <memory>
#include <string>
#include <variant>

#include "store/device.h"

namespace nabu::store {

struct UringOptions {
  std::string path;
  uint64_t sizeBytes =
      0;  // of a file that is made; an existing file or block device: at most what is used
  bool create = false;
  uint32_t depth = 256;
  // A killed process holds its lock until the kernel has ended its I/O: only then is no late write
  // possible.
  uint32_t lockWaitMs = 2000;
};

/** A regular file or block device through io_uring and O_DIRECT, locked against a second opener. */
class UringDevice final : public Device {
 public:
  static std::variant<std::unique_ptr<UringDevice>, DeviceError> open(const UringOptions& options);
  ~UringDevice() override;

  uint64_t sizeBytes() const override { return sizeBytes_; }
  bool wantsFirstWrite() const override { return regularFile_; }
  bool volatileCache() const override { return true; }
  void submit(IoRequest& request) override;
  void kick() override;
  size_t poll() override;
  bool wait() override;
  size_t inFlight() const override { return inFlight_; }
  int eventFd() const override { return eventFd_; }
  bool ready() const override;

 private:
  UringDevice() = default;
  bool prepare(IoRequest& request);
  void finish(IoRequest& request, int result);
  void enqueue(IoRequest& request);

  int fd_ = -1;
  int eventFd_ = -1;
  bool ringMade_ = false;
  bool regularFile_ = false;
  uint64_t sizeBytes_ = 0;
  size_t inFlight_ = 0;  // submitted and not completed, queued ones included
  size_t inRing_ = 0;    // bounded by the completion ring
  size_t ringLimit_ = 0;
  bool unsubmitted_ = false;
  io_uring ring_{};
  IoRequest* head_ = nullptr;  // waiting for room in the ring
  IoRequest* tail_ = nullptr;
};

}  // namespace nabu::store
