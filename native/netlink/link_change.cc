#include "netlink/link_change.h"

#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <cstring>

namespace nabu::netlink {
namespace {

using Bytes = std::span<const std::uint8_t>;

template <class Header>
bool read(Bytes bytes, Header& header) {
  if (bytes.size() < sizeof(Header)) return false;
  std::memcpy(&header, bytes.data(), sizeof(Header));
  return true;
}

// Messages and attributes begin at multiples of four (NLMSG_ALIGN, RTA_ALIGN); the last may end
// without its padding.
Bytes after(Bytes bytes, std::size_t length) {
  const std::size_t aligned = (length + 3) / 4 * 4;
  return bytes.subspan(std::min(aligned, bytes.size()));
}

// IFLA_IFNAME, NUL-terminated, 1 to 15 characters; empty where a message has none, as those of
// wireless extensions. Nothing when an attribute is not whole.
std::optional<std::string> nameIn(Bytes attributes) {
  while (!attributes.empty()) {
    rtattr attribute{};
    if (!read(attributes, attribute)) return std::nullopt;
    if (attribute.rta_len < sizeof(rtattr) || attribute.rta_len > attributes.size()) {
      return std::nullopt;
    }
    if (attribute.rta_type == IFLA_IFNAME) {
      const Bytes value = attributes.subspan(sizeof(rtattr), attribute.rta_len - sizeof(rtattr));
      const auto end = std::find(value.begin(), value.end(), std::uint8_t{0});
      const auto length = static_cast<std::size_t>(end - value.begin());
      if (end == value.end() || length == 0 || length >= IFNAMSIZ) return std::nullopt;
      return std::string(value.begin(), end);
    }
    attributes = after(attributes, attribute.rta_len);
  }
  return std::string();
}

}  // namespace

std::optional<std::vector<LinkChange>> parseLinkChanges(Bytes datagram) {
  std::vector<LinkChange> changes;
  while (!datagram.empty()) {
    nlmsghdr header{};
    if (!read(datagram, header)) return std::nullopt;
    if (header.nlmsg_len < sizeof(nlmsghdr) || header.nlmsg_len > datagram.size()) {
      return std::nullopt;
    }
    const Bytes payload = datagram.subspan(sizeof(nlmsghdr), header.nlmsg_len - sizeof(nlmsghdr));
    if (header.nlmsg_type == NLMSG_OVERRUN) return std::nullopt;
    if (header.nlmsg_type == RTM_NEWLINK || header.nlmsg_type == RTM_DELLINK) {
      if (payload.size() < sizeof(ifinfomsg)) return std::nullopt;
      auto name = nameIn(payload.subspan(sizeof(ifinfomsg)));
      if (!name) return std::nullopt;
      if (!name->empty()) {
        changes.push_back({header.nlmsg_type == RTM_DELLINK, std::move(*name)});
      }
    }
    datagram = after(datagram, header.nlmsg_len);
  }
  return changes;
}

}  // namespace nabu::netlink
