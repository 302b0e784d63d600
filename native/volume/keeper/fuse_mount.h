#pragma once

#include <string>

#include "volume/core/types.h"
#include "volume/keeper/unique_fd.h"

namespace nabu::volume::keeper {

/**
 * Mounts a FUSE file system at `path` (made if it is missing) and answers INIT, so that servers can
 * come and go without ever seeing it (Linux 6.9: FUSE_HAS_RESEND). The descriptor is the
 * connection.
 */
Result<UniqueFd> mountFuse(const std::string& path);

/** Takes the mount away. force: also when it is in use or nobody serves it; what hangs on it gets
 * EIO. */
Status unmountFuse(const std::string& path, bool force);

/** What would break the promise that requests wait for a server; nothing when all is well. */
Status checkFuseLimits();

}  // namespace nabu::volume::keeper
