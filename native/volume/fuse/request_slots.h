#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "volume/core/locked_memory.h"
#include "volume/core/request.h"
#include "volume/fuse/fuse_abi.h"

namespace nabu::volume::fuse {

// A request and the memory it lives in. What the kernel gives is read so that the data of a write
// begins at a page; the reply of a read lies in the same place with its header right before it.
struct Slot : Request {
  static constexpr std::size_t kDataAt = 4096;

  std::uint64_t fuseUnique = 0;  // as the kernel said it, the resent bit included
  std::uint32_t opcode = 0;
  std::byte* memory = nullptr;
  bool small = false;

  std::byte* data() const { return memory + kDataAt; }
  std::byte* requestAt() const { return memory + kDataAt - kWriteHeadBytes; }
  std::byte* replyAt() const { return memory + kDataAt - sizeof(fuse_out_header); }
};

// A fixed number of slots in locked memory. When large ones run out the thread that wants one
// waits: the kernel keeps what nobody reads.
class RequestSlots {
 public:
  static constexpr std::uint32_t kSmallBytes = 32 << 10;

  /** Nothing when memory is short. */
  static std::unique_ptr<RequestSlots> create(std::size_t large, std::size_t small,
                                              SharedMemory from = {});
  static std::size_t memoryBytes(std::size_t large, std::size_t small);

  /** A slot for that many bytes of data; waits for one. nullptr after stop(). */
  Slot* take(std::size_t bytes);
  void give(Slot& slot);
  /** Wakes those who wait. */
  void stop();

 private:
  RequestSlots(std::size_t large, std::size_t small, SharedMemory from);

  LockedMemory memory_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::mutex mutex_;
  std::condition_variable freed_;
  std::vector<Slot*> large_;
  std::vector<Slot*> small_;
  bool stopped_ = false;
};

}  // namespace nabu::volume::fuse
