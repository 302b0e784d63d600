#include <unistd.h>

#include <cstdio>
#include <string>
#include <string_view>

#include "volume/keeper/keeper.h"
#include "volume/keeper/state_file.h"

namespace {

int usage() {
  std::fputs(
      "usage: nabu-keeper --socket PATH --state FOLDER --server COMMAND [ARGUMENT...]\n"
      "       nabu-keeper --cleanup FOLDER    take away mounts and loop devices of a keeper that "
      "died\n",
      stderr);
  return 64;
}

}  // namespace

int main(int argc, char** argv) {
  nabu::volume::keeper::KeeperOptions options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view flag = argv[i];
    if (i + 1 >= argc) return usage();
    if (flag == "--cleanup") {
      const auto done = nabu::volume::keeper::cleanUp(argv[i + 1]);
      if (done.ok()) return 0;
      std::fprintf(stderr, "nabu-keeper: %s: %s\n", done.error().subject.c_str(),
                   done.error().reason.c_str());
      return 1;
    }
    if (flag == "--server") {
      options.serverCommand.assign(argv + i + 1, argv + argc);
      break;
    }
    if (flag == "--socket") {
      options.socketPath = argv[++i];
    } else if (flag == "--state") {
      options.stateFolder = argv[++i];
    } else {
      return usage();
    }
  }
  if (options.socketPath.empty() || options.stateFolder.empty() || options.serverCommand.empty())
    return usage();
  // A session of its own: it outlives whoever started it. Fails where it leads one already.
  (void)setsid();
  return nabu::volume::keeper::Keeper(std::move(options)).run();
}
