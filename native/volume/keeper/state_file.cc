#include "volume/keeper/state_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "volume/keeper/fuse_mount.h"
#include "volume/keeper/loop_device.h"

namespace nabu::volume::keeper {
namespace {

constexpr int kVersion = 1;
using Json = nlohmann::json;

std::string fileOf(const std::string& folder) { return folder + "/keeper.json"; }
Error system(const std::string& call) { return {Failure::kSystem, call, std::strerror(errno)}; }

// Alive and not a zombie: PID 1 may reap late, and a zombie still answers kill(pid, 0).
bool isAlive(int pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const auto name = text.rfind(')');
  if (name == std::string::npos || name + 2 >= text.size()) return false;
  const bool keeper = text.find("(nabu-keeper)") != std::string::npos;
  return keeper && text[name + 2] != 'Z' && text[name + 2] != 'X';
}

}  // namespace

Result<KeptState> readState(const std::string& folder) {
  std::ifstream file(fileOf(folder));
  KeptState state;
  if (!file) return state;
  const Json json = Json::parse(file, nullptr, false);
  const Error bad{Failure::kUnknownFormat, fileOf(folder), "no state of this keeper's version"};
  if (!json.is_object() || json.value("version", 0) != kVersion || !json.contains("volumes") ||
      !json["volumes"].is_array() || !json.contains("pid") || !json["pid"].is_number_integer()) {
    return bad;
  }
  state.pid = json["pid"].get<int>();
  for (const Json& item : json["volumes"]) {
    if (!item.is_object() || !item.contains("id") || !item["id"].is_string() ||
        !item.contains("mount") || !item["mount"].is_string() || !item.contains("loop") ||
        !item["loop"].is_number_integer()) {
      return bad;
    }
    state.volumes.push_back(
        {item["id"].get<std::string>(), item["mount"].get<std::string>(), item["loop"].get<int>()});
  }
  return state;
}

Status writeState(const std::string& folder, const KeptState& state) {
  Json volumes = Json::array();
  for (const auto& volume : state.volumes) {
    volumes.push_back(
        {{"id", volume.id}, {"mount", volume.mountPath}, {"loop", volume.loopNumber}});
  }
  const std::string text =
      Json{{"version", kVersion}, {"pid", state.pid}, {"volumes", volumes}}.dump() + "\n";
  const std::string next = fileOf(folder) + ".next";
  UniqueFd fd(open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd || write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      fsync(fd.get()) != 0 || rename(next.c_str(), fileOf(folder).c_str()) != 0) {
    return system("writing " + fileOf(folder));
  }
  return Done{};
}

Status cleanUp(const std::string& folder) {
  auto state = readState(folder);
  if (!state.ok()) return state.error();
  if (state.value().pid != getpid() && isAlive(state.value().pid)) {
    return Error{Failure::kWrongState, "cleaning up " + folder,
                 "its keeper lives, process " + std::to_string(state.value().pid)};
  }
  for (const auto& volume : state.value().volumes) {
    if (volume.loopNumber >= 0) {
      if (Status done = abandonLoop(volume.loopNumber, volume.mountPath + "/block"); !done.ok())
        return done;
    }
    if (Status done = unmountFuse(volume.mountPath, true); !done.ok()) return done;
  }
  unlink(fileOf(folder).c_str());
  return Done{};
}

}  // namespace nabu::volume::keeper
