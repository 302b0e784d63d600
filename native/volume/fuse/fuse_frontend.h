#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "volume/core/volume.h"
#include "volume/fuse/request_slots.h"

namespace nabu::volume::fuse {

// Serves one file, `block`, of a FUSE mount whose INIT has been answered by the keeper: the loop
// device's backing file. Some threads read /dev/fuse; what cannot be answered at once is parked in
// the core.
class FuseFrontend final : public RequestSink {
 public:
  /**
   * onClosed(errno): the kernel has ended the connection; called once, from one of the threads.
   * `memory` holds the request buffers: memoryBytes(threads) of it.
   */
  static Result<std::unique_ptr<FuseFrontend>> create(Volume& volume, int fuseFd, int threads,
                                                      SharedMemory memory,
                                                      std::function<void(int)> onClosed);
  static std::size_t memoryBytes(int threads);
  ~FuseFrontend() override;

  /** Asks the kernel to send unanswered requests again, then serves. */
  Status start();
  /** Ends the threads. What waits in the core stays unanswered. */
  void stop();
  /** The io timeout was changed. */
  void wakeExpiry();

  void answer(Request& request, int error) override;
  bool answerFrom(Request& request, const std::byte* bytes) override;
  void release(Request& request) override;

 private:
  FuseFrontend(Volume& volume, int fd, int threads, std::function<void(int)> onClosed);
  void serve(int reader);
  void expire();
  /** Deals with what lies in the slot; the slot that the thread goes on with (another one when this
   * was parked). */
  Slot* dispatch(Slot* slot, std::size_t length, int reader);
  Slot* doWrite(Slot* slot, const fuse_in_header& head, std::size_t length, bool resent);
  void doRead(Slot& slot, const fuse_in_header& head, int reader);
  void doFlush(const fuse_in_header& head);
  void doFallocate(Slot& slot, const fuse_in_header& head, bool resent);
  void doLookup(Slot& slot, const fuse_in_header& head, std::size_t length);
  void doOther(Slot& slot, const fuse_in_header& head);
  fuse_attr attributes(std::uint64_t node) const;
  void reply(std::uint64_t unique, int error, const void* body, std::size_t length) const;
  void replyInPlace(Slot& slot, std::size_t length) const;

  Volume& volume_;
  const int fd_;
  const int threadCount_;
  std::function<void(int)> onClosed_;
  std::unique_ptr<RequestSlots> slots_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> closedSaid_{false};
  std::atomic<int> running_{0};
  std::vector<std::thread> threads_;
  std::thread expiry_;
  std::mutex expiryMutex_;
  std::condition_variable expiryWake_;
};

}  // namespace nabu::volume::fuse
