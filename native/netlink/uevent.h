#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace nabu::netlink {

// What the kernel says when a device, driver or module comes, goes or changes.
struct Uevent {
  std::string action;      // "add", "remove", "change", "bind", ...
  std::string devicePath;  // below /sys, "/devices/pci0000:15/..."
  std::string subsystem;

  bool operator==(const Uevent&) const = default;
};

// One message of the kernel's group of NETLINK_KOBJECT_UEVENT (lib/kobject_uevent.c):
// "ACTION@DEVPATH\0" and then "KEY=VALUE\0" each, among them ACTION, DEVPATH and SUBSYSTEM.
// Nothing for bytes of any other form, udev's own messages among them.
std::optional<Uevent> parseUevent(std::span<const std::uint8_t> message);

}  // namespace nabu::netlink
