#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "volume/core/types.h"
#include "volume/keeper/unique_fd.h"

namespace nabu::volume::keeper {

// Memory that servers use one after the other: what is in it means nothing to the next one, but its
// pages need not be taken again, which costs a second per 100 MiB on some machines.
class ScratchMemory {
 public:
  explicit ScratchMemory(std::size_t maxNames) : maxNames_(maxNames) {}

  /** The memfd of that name; another one when the length was another. It stays ours. */
  Result<int> get(const std::string& name, std::uint64_t bytes);
  void drop(const std::string& name) { kept_.erase(name); }

 private:
  struct Kept {
    std::uint64_t bytes = 0;
    UniqueFd memory;
  };
  std::size_t maxNames_;
  std::map<std::string, Kept> kept_;
};

}  // namespace nabu::volume::keeper
