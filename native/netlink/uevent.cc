#include "netlink/uevent.h"

#include <string_view>

namespace nabu::netlink {
namespace {

// UEVENT_BUFFER_SIZE bounds what the kernel writes of each; a longer one is not its own.
constexpr std::size_t kLongest = 2048;

// Removes the next text and its NUL from the front. The last one may lack its NUL.
std::string_view takeText(std::string_view& rest) {
  const std::size_t end = rest.find('\0');
  const std::string_view text = rest.substr(0, end);
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  return text;
}

bool valueOf(std::string_view pair, std::string_view key, std::string_view& value) {
  if (pair.size() <= key.size() || !pair.starts_with(key) || pair[key.size()] != '=') return false;
  value = pair.substr(key.size() + 1);
  return true;
}

bool isBounded(std::string_view text) { return !text.empty() && text.size() <= kLongest; }

}  // namespace

std::optional<Uevent> parseUevent(std::span<const std::uint8_t> message) {
  std::string_view rest(reinterpret_cast<const char*>(message.data()), message.size());
  const std::string_view head = takeText(rest);
  const std::size_t at = head.find('@');
  if (at == std::string_view::npos) return std::nullopt;
  std::string_view action;
  std::string_view devicePath;
  std::string_view subsystem;
  while (!rest.empty()) {
    const std::string_view pair = takeText(rest);
    if (valueOf(pair, "ACTION", action)) continue;
    if (valueOf(pair, "DEVPATH", devicePath)) continue;
    valueOf(pair, "SUBSYSTEM", subsystem);
  }
  if (!isBounded(action) || !isBounded(devicePath) || !isBounded(subsystem)) return std::nullopt;
  if (action != head.substr(0, at) || devicePath != head.substr(at + 1)) return std::nullopt;
  return Uevent{std::string(action), std::string(devicePath), std::string(subsystem)};
}

}  // namespace nabu::netlink
