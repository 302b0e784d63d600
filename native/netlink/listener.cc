#include "netlink/listener.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

namespace nabu::netlink {
namespace {

// The kernel sends both its uevents and RTNLGRP_LINK to the first group of their families.
constexpr std::uint32_t kGroup = 1;
// RTM_NEWLINK of an adapter with 256 virtual functions is the longest: some 50 KiB.
constexpr std::size_t kBufferBytes = 128 << 10;

std::optional<OpenError> openSocket(int family, const ListenerOptions& options, int& socket) {
  socket = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, family);
  if (socket < 0) return OpenError{"socket", errno};
  // The first goes past net.core.rmem_max and needs CAP_NET_ADMIN; the second is what others get.
  const int bytes = options.receiveBufferBytes;
  if (::setsockopt(socket, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) != 0 &&
      ::setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)) != 0) {
    return OpenError{"SO_RCVBUF", errno};
  }
  const int on = 1;
  if (::setsockopt(socket, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) != 0) {
    return OpenError{"SO_PASSCRED", errno};
  }
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = kGroup;
  if (::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return OpenError{"bind", errno};
  }
  return std::nullopt;
}

// Only the kernel has port 0 and process 0. Anybody may send to the address of a socket, and a
// privileged process to its group.
bool isFromKernel(const msghdr& header, const sockaddr_nl& sender) {
  if (header.msg_namelen != sizeof(sender) || sender.nl_family != AF_NETLINK) return false;
  if (sender.nl_pid != 0 || sender.nl_groups != kGroup) return false;
  for (const cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr;
       part = CMSG_NXTHDR(const_cast<msghdr*>(&header), const_cast<cmsghdr*>(part))) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_CREDENTIALS) continue;
    ucred credentials{};
    if (part->cmsg_len < CMSG_LEN(sizeof(credentials))) return false;
    std::memcpy(&credentials, CMSG_DATA(part), sizeof(credentials));
    return credentials.pid == 0;
  }
  return false;
}

std::uint32_t portIdOf(int socket) {
  sockaddr_nl address{};
  socklen_t length = sizeof(address);
  const bool ok = ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length) == 0;
  return ok ? address.nl_pid : 0;
}

}  // namespace

std::variant<Listener, OpenError> Listener::open(const ListenerOptions& options) {
  Listener listener;
  if (auto error = openSocket(NETLINK_KOBJECT_UEVENT, options, listener.uevents_)) {
    return OpenError{error->operation + " for NETLINK_KOBJECT_UEVENT", error->error};
  }
  if (auto error = openSocket(NETLINK_ROUTE, options, listener.links_)) {
    return OpenError{error->operation + " for NETLINK_ROUTE", error->error};
  }
  listener.epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  if (listener.epoll_ < 0) return OpenError{"epoll_create1", errno};
  for (const int socket : {listener.uevents_, listener.links_}) {
    epoll_event interest{};
    interest.events = EPOLLIN;
    if (::epoll_ctl(listener.epoll_, EPOLL_CTL_ADD, socket, &interest) != 0) {
      return OpenError{"epoll_ctl", errno};
    }
  }
  listener.buffer_.resize(kBufferBytes);
  return listener;
}

Listener::Listener(Listener&& other) noexcept
    : epoll_(std::exchange(other.epoll_, -1)),
      uevents_(std::exchange(other.uevents_, -1)),
      links_(std::exchange(other.links_, -1)),
      counts_(other.counts_),
      buffer_(std::move(other.buffer_)) {}

Listener::~Listener() {
  for (const int fd : {epoll_, uevents_, links_}) {
    if (fd >= 0) ::close(fd);
  }
}

std::array<std::uint32_t, 2> Listener::portIds() const {
  return {portIdOf(uevents_), portIdOf(links_)};
}

Batch Listener::take() {
  Batch batch;
  for (const int socket : {uevents_, links_}) {
    for (int i = 0; i < kBatchMessages; ++i) {
      const Took took = takeOne(socket, socket == uevents_, batch);
      if (took == Took::kNothing || took == Took::kFailure) break;
      if (took == Took::kOverflow) {
        ++counts_.overflows;
        batch.lost = true;
      }
    }
  }
  return batch;
}

Listener::Took Listener::takeOne(int socket, bool isUevent, Batch& batch) {
  sockaddr_nl sender{};
  iovec part{buffer_.data(), buffer_.size()};
  alignas(cmsghdr) std::array<std::uint8_t, 128> control{};
  msghdr header{};
  header.msg_name = &sender;
  header.msg_namelen = sizeof(sender);
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  const ssize_t length = ::recvmsg(socket, &header, MSG_DONTWAIT);
  if (length < 0) {
    if (errno == EAGAIN) return Took::kNothing;
    if (errno == ENOBUFS) return Took::kOverflow;
    if (errno == EINTR) return Took::kMessage;  // asked again
    batch.failure = errno;
    return Took::kFailure;
  }
  if (!isFromKernel(header, sender)) {
    ++counts_.foreign;
  } else if ((header.msg_flags & MSG_TRUNC) != 0) {
    ++counts_.malformed;
    batch.lost = true;
  } else {
    understand(isUevent, static_cast<std::size_t>(length), batch);
  }
  return Took::kMessage;
}

void Listener::understand(bool isUevent, std::size_t length, Batch& batch) {
  const std::span<const std::uint8_t> message(buffer_.data(), length);
  const std::size_t before = batch.events.size();
  if (isUevent) {
    if (auto event = parseUevent(message)) batch.events.emplace_back(std::move(*event));
  } else if (auto changes = parseLinkChanges(message)) {
    for (LinkChange& change : *changes) batch.events.emplace_back(std::move(change));
    if (changes->empty()) return;  // whole, and about nothing that counts
  }
  const std::size_t added = batch.events.size() - before;
  counts_.events += added;
  if (added > 0) return;
  ++counts_.malformed;
  batch.lost = true;
}

}  // namespace nabu::netlink
