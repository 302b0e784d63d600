#include "netlink/listener.h"

#include <doctest/doctest.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <utility>

namespace nabu::netlink {
namespace {

Listener opened(const ListenerOptions& options = {}) {
  auto result = Listener::open(options);
  REQUIRE(std::holds_alternative<Listener>(result));
  return std::move(std::get<Listener>(result));
}

bool becomesReadable(const Listener& listener) {
  pollfd interest{listener.fd(), POLLIN, 0};
  return ::poll(&interest, 1, 10'000) == 1;
}

// The kernel then says so of the loopback interface: lib/kobject_uevent.c, uevent_store.
bool provoke(int times = 1) {
  for (int i = 0; i < times; ++i) {
    std::ofstream uevent("/sys/class/net/lo/uevent");
    uevent << "change" << std::flush;
    if (!uevent) return false;
  }
  return true;
}

const Event kProvoked = Uevent{"change", "/devices/virtual/net/lo", "net"};

bool has(const Batch& batch, const Event& event) {
  return std::find(batch.events.begin(), batch.events.end(), event) != batch.events.end();
}

// Others may make the kernel speak too: looks until the event is there.
bool hears(Listener& listener, const Event& event) {
  while (becomesReadable(listener)) {
    if (has(listener.take(), event)) return true;
  }
  return false;
}

bool send(const std::string& message, std::uint32_t port, std::uint32_t groups) {
  const int socket = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
  REQUIRE(socket >= 0);
  sockaddr_nl to{};
  to.nl_family = AF_NETLINK;
  to.nl_pid = port;
  to.nl_groups = groups;
  const auto sent = ::sendto(socket, message.data(), message.size(), 0,
                             reinterpret_cast<const sockaddr*>(&to), sizeof(to));
  ::close(socket);
  return sent == static_cast<ssize_t>(message.size());
}

TEST_CASE("what the kernel says is heard, and its descriptor tells that there is something") {
  Listener listener = opened();
  if (!provoke()) {
    MESSAGE("SKIPPED: no permission to write /sys/class/net/lo/uevent");
    return;
  }
  CHECK(hears(listener, kProvoked));
  CHECK(listener.counts().events > 0);
}

TEST_CASE("nothing to hear is an empty batch, at once") {
  Listener listener = opened();
  const Batch batch = listener.take();
  CHECK_FALSE(batch.lost);
  CHECK(batch.failure == 0);
}

TEST_CASE("a perfect uevent from a process is dropped and counted, sent to the socket or to all") {
  Listener listener = opened();
  using namespace std::string_literals;
  const std::string forged =
      "remove@/devices/forged\0ACTION=remove\0DEVPATH=/devices/forged\0SUBSYSTEM=pci\0"s;
  if (!send(forged, listener.portIds()[0], 0) || !send(forged, 0, 1) || !provoke()) {
    MESSAGE("SKIPPED: no permission to send on NETLINK_KOBJECT_UEVENT");
    return;
  }
  const Event event = Uevent{"remove", "/devices/forged", "pci"};
  bool isFooled = false;
  while (becomesReadable(listener)) {
    const Batch batch = listener.take();
    isFooled = isFooled || has(batch, event);
    if (has(batch, kProvoked)) break;
  }
  CHECK_FALSE(isFooled);
  CHECK(listener.counts().foreign == 2);
}

TEST_CASE(
    "when the kernel has no room for more it is said that something was lost, and then goes on") {
  Listener listener = opened({.receiveBufferBytes = 4096});
  if (!provoke(200)) {
    MESSAGE("SKIPPED: no permission to write /sys/class/net/lo/uevent");
    return;
  }
  REQUIRE(becomesReadable(listener));
  const Batch batch = listener.take();
  CHECK(batch.lost);
  CHECK(listener.counts().overflows > 0);
  listener.take();
  REQUIRE(provoke());
  CHECK(hears(listener, kProvoked));
}

TEST_CASE("one look takes a bounded number of messages, and the rest is still there for the next") {
  Listener listener = opened();
  constexpr int kMore = Listener::kBatchMessages + 40;
  if (!provoke(kMore)) {
    MESSAGE("SKIPPED: no permission to write /sys/class/net/lo/uevent");
    return;
  }
  std::ptrdiff_t heard = 0;
  while (heard < kMore && becomesReadable(listener)) {
    const Batch batch = listener.take();
    REQUIRE_FALSE(batch.lost);
    const auto now = std::count(batch.events.begin(), batch.events.end(), kProvoked);
    CHECK(now <= Listener::kBatchMessages);
    heard += now;
  }
  CHECK(heard == kMore);
}

TEST_CASE("a listener that was moved from closes nothing") {
  Listener first = opened();
  const Listener second(std::move(first));
  CHECK(second.fd() >= 0);
  CHECK(second.portIds()[0] != 0);
}

}  // namespace
}  // namespace nabu::netlink
