#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace nabu::netlink {

// A network interface came, went or is in another state.
struct LinkChange {
  bool removed = false;
  std::string name;

  bool operator==(const LinkChange&) const = default;
};

// A datagram of RTNLGRP_LINK (rtnetlink(7)): one or more messages, of which RTM_NEWLINK and
// RTM_DELLINK count. Nothing when any of them is not whole, or when the kernel says that some were
// lost (NLMSG_OVERRUN): the reader has to look for itself then.
std::optional<std::vector<LinkChange>> parseLinkChanges(std::span<const std::uint8_t> datagram);

}  // namespace nabu::netlink
