#include "netlink/link_change.h"

#include <doctest/doctest.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include <optional>
#include <random>
#include <string>
#include <vector>

namespace nabu::netlink {
namespace {

using Bytes = std::string;

// An exact allocation: the address sanitizer sees one byte too far.
std::optional<std::vector<LinkChange>> parsed(const Bytes& bytes) {
  const std::vector<std::uint8_t> exact(bytes.begin(), bytes.end());
  return parseLinkChanges(exact);
}

template <class Value>
Bytes bytesOf(const Value& value) {
  return Bytes(reinterpret_cast<const char*>(&value), sizeof(value));
}

Bytes attribute(std::uint16_t type, const std::string& value) {
  Bytes bytes =
      bytesOf(rtattr{static_cast<std::uint16_t>(sizeof(rtattr) + value.size()), type}) + value;
  bytes.resize((bytes.size() + 3) / 4 * 4);
  return bytes;
}

Bytes message(std::uint16_t type, const Bytes& attributes) {
  const std::size_t length = sizeof(nlmsghdr) + sizeof(ifinfomsg) + attributes.size();
  return bytesOf(nlmsghdr{static_cast<std::uint32_t>(length), type, 0, 0, 0}) +
         bytesOf(ifinfomsg{}) + attributes;
}

Bytes named(std::uint16_t type, const std::string& name) {
  return message(type, attribute(IFLA_MTU, "abcd") +
                           attribute(IFLA_IFNAME, name + std::string(1, '\0')) +
                           attribute(IFLA_OPERSTATE, "x"));
}

TEST_CASE("each message of a datagram is a change of the interface that it names") {
  const auto changes = parsed(named(RTM_NEWLINK, "ibp24s0") + named(RTM_DELLINK, "eth0"));
  REQUIRE(changes);
  CHECK(*changes == std::vector<LinkChange>{{false, "ibp24s0"}, {true, "eth0"}});
}

TEST_CASE("other messages, and those that name no interface, are passed over") {
  CHECK(parsed("") == std::vector<LinkChange>{});
  CHECK(parsed(named(RTM_NEWADDR, "eth0")) == std::vector<LinkChange>{});
  CHECK(parsed(message(RTM_NEWLINK, attribute(IFLA_WIRELESS, "event"))) ==
        std::vector<LinkChange>{});
}

TEST_CASE("a datagram that is not whole, or that says some were lost, gives nothing at all") {
  const Bytes whole = named(RTM_NEWLINK, "eth0");
  for (std::size_t length = 1; length < whole.size() - 4; ++length) {
    CHECK_FALSE(parsed(whole.substr(0, length)));
  }
  const Bytes overrun = bytesOf(nlmsghdr{sizeof(nlmsghdr), NLMSG_OVERRUN, 0, 0, 0});
  CHECK_FALSE(parsed(overrun));
  CHECK_FALSE(parsed(whole + overrun));
  CHECK_FALSE(parsed(bytesOf(nlmsghdr{})));
  for (const std::string& name : {std::string(), std::string(16, 'x')}) {
    CHECK_FALSE(parsed(named(RTM_NEWLINK, name)));
  }
  CHECK_FALSE(parsed(message(RTM_NEWLINK, attribute(IFLA_IFNAME, "eth0"))));
}

TEST_CASE("no bytes whatever make it read past the end: seeded garbage and damaged messages") {
  std::mt19937 random(20261121);
  const Bytes whole = named(RTM_NEWLINK, "ibp24s0") + named(RTM_DELLINK, "eth0");
  for (int i = 0; i < 50'000; ++i) {
    Bytes bytes = whole;
    if (i % 4 == 0) {
      bytes.resize(random() % 200);
      for (char& byte : bytes) byte = static_cast<char>(random());
    } else {
      for (std::uint32_t change = 0; change <= random() % 4; ++change) {
        bytes[random() % bytes.size()] = static_cast<char>(random());
      }
      bytes.resize(random() % (bytes.size() + 1));
    }
    const auto changes = parsed(bytes);
    if (!changes) continue;
    for (const LinkChange& change : *changes) {
      CHECK(!change.name.empty());
      CHECK(change.name.size() < 16);
    }
  }
}

}  // namespace
}  // namespace nabu::netlink
