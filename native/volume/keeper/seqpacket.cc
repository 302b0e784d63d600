#include "volume/keeper/seqpacket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace nabu::volume::keeper {
namespace {

Result<sockaddr_un> addressOf(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return Error{Failure::kBadArgument, "socket", "must be a path of at most 107 bytes"};
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

Error system(const std::string& call) { return {Failure::kSystem, call, std::strerror(errno)}; }

}  // namespace

int sendMessage(int socket, std::string_view json, const std::vector<int>& fds) {
  iovec body{const_cast<char*>(json.data()), json.size()};
  msghdr message{};
  message.msg_iov = &body;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxDescriptors * sizeof(int))] = {};
  if (fds.size() > kMaxDescriptors || json.size() > kMaxMessageBytes) return EMSGSIZE;
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size() * sizeof(int));
  }
  while (sendmsg(socket, &message, MSG_NOSIGNAL) < 0) {
    if (errno != EINTR) return errno;
  }
  return 0;
}

std::optional<Message> receiveMessage(int socket, int& error) {
  Message received;
  received.json.resize(kMaxMessageBytes);
  iovec body{received.json.data(), received.json.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxDescriptors * sizeof(int))];
  msghdr message{};
  message.msg_iov = &body;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t got = 0;
  while ((got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR) {
  }
  error = got < 0 ? errno : 0;
  if (got <= 0) return std::nullopt;
  for (cmsghdr* h = CMSG_FIRSTHDR(&message); h != nullptr; h = CMSG_NXTHDR(&message, h)) {
    if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof fd);
      received.fds.push_back(fd);
    }
  }
  received.json.resize(static_cast<std::size_t>(got));
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
    for (const int fd : received.fds) close(fd);
    error = EMSGSIZE;
    return std::nullopt;
  }
  return received;
}

Result<int> connectTo(const std::string& path) {
  auto address = addressOf(path);
  if (!address.ok()) return address.error();
  const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (fd < 0) return system("socket");
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address.value()), sizeof(sockaddr_un)) != 0) {
    Error error = system("connecting to the keeper at " + path);
    close(fd);
    return error;
  }
  return fd;
}

Result<int> listenAt(const std::string& path) {
  auto address = addressOf(path);
  if (!address.ok()) return address.error();
  if (auto other = connectTo(path); other.ok()) {
    close(other.value());
    return Error{Failure::kWrongState, "listening at " + path, "another keeper answers there"};
  }
  unlink(path.c_str());
  const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return system("socket");
  const mode_t mask = umask(0177);
  const int bound =
      bind(fd, reinterpret_cast<const sockaddr*>(&address.value()), sizeof(sockaddr_un));
  umask(mask);
  if (bound != 0 || listen(fd, 16) != 0) {
    Error error = system("listening at " + path);
    close(fd);
    return error;
  }
  return fd;
}

}  // namespace nabu::volume::keeper
