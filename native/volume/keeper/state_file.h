#pragma once

#include <string>
#include <vector>

#include "volume/core/types.h"

namespace nabu::volume::keeper {

// STATE/keeper.json: what a keeper has made in the kernel, so that it can be found if the keeper
// dies.
struct KeptState {
  struct Volume {
    std::string id;
    std::string mountPath;
    int loopNumber = -1;
  };
  int pid = 0;
  std::vector<Volume> volumes;
};

/** Nothing kept when there is no file. */
Result<KeptState> readState(const std::string& folder);
/** Whole or not at all, and on disk when it returns. */
Status writeState(const std::string& folder, const KeptState& state);

/** Takes away the mounts and loop devices of a keeper that is dead. kWrongState when it lives. */
Status cleanUp(const std::string& folder);

}  // namespace nabu::volume::keeper
