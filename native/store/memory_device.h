#pragma once

#include <memory>
#include <utility>
#include <variant>

#include "store/device.h"

namespace nabu::store {

/**
 * Anonymous memory. Copies at submission, completes at the next poll. Populated: all of it is there
 * from the beginning, so that no write waits for the kernel to find and clear a page, and none
 * finds that there is none.
 */
class MemoryDevice final : public Device {
 public:
  static std::variant<std::unique_ptr<MemoryDevice>, DeviceError> open(uint64_t sizeBytes,
                                                                       bool populate = false);

  uint64_t sizeBytes() const override { return sizeBytes_; }
  bool wantsFirstWrite() const override { return false; }
  bool volatileCache() const override { return false; }
  void submit(IoRequest& request) override;
  void kick() override {}
  size_t poll() override;
  bool wait() override { return head_ != nullptr; }
  size_t inFlight() const override { return inFlight_; }
  int eventFd() const override { return -1; }
  bool ready() const override { return head_ != nullptr; }
  std::shared_ptr<const uint8_t[]> mapped() const override { return bytes_; }

 private:
  MemoryDevice(std::shared_ptr<uint8_t[]> bytes, uint64_t sizeBytes)
      : bytes_(std::move(bytes)), sizeBytes_(sizeBytes) {}
  std::shared_ptr<uint8_t[]> bytes_;
  uint64_t sizeBytes_;
  IoRequest* head_ = nullptr;
  IoRequest* tail_ = nullptr;
  size_t inFlight_ = 0;
};

}  // namespace nabu::store
