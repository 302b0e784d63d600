#include "netlink/uevent.h"

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

namespace nabu::netlink {
namespace {

using namespace std::string_literals;

std::optional<Uevent> parsed(const std::string& message) {
  const std::vector<std::uint8_t> bytes(message.begin(), message.end());
  return parseUevent(bytes);
}

const std::string kDown =
    "change@/devices/pci0000:15/0000:18:00.0/infiniband/mlx5_0\0ACTION=change\0"
    "DEVPATH=/devices/pci0000:15/0000:18:00.0/infiniband/mlx5_0\0SUBSYSTEM=infiniband\0"
    "NAME=mlx5_0\0SEQNUM=4711\0"s;

TEST_CASE("a uevent of the kernel says what happened, where, and of which subsystem it is") {
  const Uevent expected{"change", "/devices/pci0000:15/0000:18:00.0/infiniband/mlx5_0",
                        "infiniband"};
  CHECK(parsed(kDown) == expected);
  CHECK(parsed(kDown.substr(0, kDown.size() - 1)) == expected);
}

TEST_CASE("the order of the fields does not matter, and values may be empty or hold '='") {
  CHECK(parsed("add@/module/nvidia_fs\0SEQNUM=1\0SUBSYSTEM=module\0X=\0Y=a=b\0"
               "DEVPATH=/module/nvidia_fs\0ACTION=add\0"s) ==
        Uevent{"add", "/module/nvidia_fs", "module"});
}

TEST_CASE("a message whose head and fields differ, or that lacks one, is not taken") {
  for (const std::string& message :
       {""s, "\0"s, "@"s, "add"s, "add@/x\0"s, "libudev\0\xfe\xed\xca\xfe"s,
        "add@/x\0ACTION=add\0DEVPATH=/x\0"s, "add@/x\0ACTION=add\0SUBSYSTEM=pci\0"s,
        "add@/x\0DEVPATH=/x\0SUBSYSTEM=pci\0"s,
        "add@/x\0ACTION=remove\0DEVPATH=/x\0SUBSYSTEM=pci\0"s,
        "add@/x\0ACTION=add\0DEVPATH=/y\0SUBSYSTEM=pci\0"s,
        "@/x\0ACTION=\0DEVPATH=/x\0SUBSYSTEM=pci\0"s,
        "add@/x\0ACTION=add\0DEVPATH=/x\0SUBSYSTEM=\0"s}) {
    CHECK_FALSE(parsed(message));
  }
  const std::string longer(3000, 'x');
  CHECK_FALSE(parsed("add@/" + longer + "\0ACTION=add\0DEVPATH=/"s + longer + "\0SUBSYSTEM=a\0"s));
}

TEST_CASE("no bytes whatever make it read past the end: seeded garbage and damaged messages") {
  std::mt19937 random(20261121);
  for (int i = 0; i < 20'000; ++i) {
    std::string message = kDown;
    if (i % 2 == 0) {
      message.assign(random() % 300, '\0');
      for (char& byte : message) byte = static_cast<char>(random() % 4 == 0 ? 0 : random());
    } else {
      for (int change = 0; change < 4; ++change) {
        message[random() % message.size()] = static_cast<char>(random());
      }
      message.resize(random() % (message.size() + 1));
    }
    // An exact allocation: the address sanitizer sees one byte too far.
    const std::vector<std::uint8_t> exact(message.begin(), message.end());
    const auto event = parseUevent(exact);
    if (event) CHECK_FALSE(event->subsystem.empty());
  }
}

}  // namespace
}  // namespace nabu::netlink
