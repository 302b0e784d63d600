#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "volume/core/types.h"

namespace nabu::volume::keeper {

// Messages between keeper and server: one SOCK_SEQPACKET datagram each, JSON with descriptors
// beside it.
inline constexpr std::size_t kMaxMessageBytes = 64 << 10;
inline constexpr std::size_t kMaxDescriptors = 16;

struct Message {
  std::string json;
  std::vector<int> fds;  // owned by whoever has the message
};

/** An errno, 0 = sent. */
int sendMessage(int socket, std::string_view json, const std::vector<int>& fds);
/** Nothing when the peer is gone (error 0) or on an error. Descriptors come close-on-exec. */
std::optional<Message> receiveMessage(int socket, int& error);
/** Connects to a keeper's socket. */
Result<int> connectTo(const std::string& path);
/** Listens at path with mode 0600; a stale socket file is replaced, a live one is an error. */
Result<int> listenAt(const std::string& path);

}  // namespace nabu::volume::keeper
