#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "netlink/link_change.h"
#include "netlink/uevent.h"

namespace nabu::netlink {

using Event = std::variant<Uevent, LinkChange>;

// What arrived since the last look, in its order.
struct Batch {
  std::vector<Event> events;
  // Something happened that is not among them: the kernel had no room for it (ENOBUFS), or it was
  // not to be understood.
  bool lost = false;
  // Not 0: nothing will come any more, for this errno.
  int failure = 0;
};

struct Counts {
  std::uint64_t events = 0;
  std::uint64_t foreign = 0;    // not sent by the kernel to its group: dropped
  std::uint64_t malformed = 0;  // sent by the kernel, not of a form that is known
  std::uint64_t overflows = 0;
};

struct OpenError {
  std::string operation;
  int error = 0;
};

struct ListenerOptions {
  // For each of the two sockets; the kernel counts its own overhead in.
  int receiveBufferBytes = 1 << 20;
};

// Listens to the kernel's uevents and to changes of network interfaces. Nothing in it blocks; for
// use by one thread.
class Listener {
 public:
  // Messages that one look takes at most from each socket: what is left keeps fd() readable.
  static constexpr int kBatchMessages = 256;

  static std::variant<Listener, OpenError> open(const ListenerOptions& options = {});

  Listener(Listener&& other) noexcept;
  Listener& operator=(Listener&&) = delete;
  Listener(const Listener&) = delete;
  ~Listener();

  // Readable while there is something to take.
  int fd() const { return epoll_; }
  Batch take();
  const Counts& counts() const { return counts_; }
  // The address of each socket, which the kernel chose: uevents, interfaces.
  std::array<std::uint32_t, 2> portIds() const;

 private:
  enum class Took { kMessage, kNothing, kOverflow, kFailure };

  Listener() = default;
  Took takeOne(int socket, bool isUevent, Batch& batch);
  void understand(bool isUevent, std::size_t length, Batch& batch);

  int epoll_ = -1;
  int uevents_ = -1;
  int links_ = -1;
  Counts counts_;
  std::vector<std::uint8_t> buffer_;
};

}  // namespace nabu::netlink
