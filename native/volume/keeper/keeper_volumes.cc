#include <fcntl.h>
#include <unistd.h>

#include <memory>
#include <thread>

#include "volume/core/write_ring.h"
#include "volume/keeper/fuse_mount.h"
#include "volume/keeper/keeper.h"
#include "volume/keeper/keeper_json.h"

// What the keeper does to volumes: take one, attach, resize and remove its loop device.

namespace nabu::volume::keeper {
namespace {

bool parseId(const std::string& hex, VolumeId& id) {
  if (hex.size() != 2 * id.size()) return false;
  for (std::size_t i = 0; i < id.size(); ++i) {
    unsigned value = 0;
    for (const char c : {hex[2 * i], hex[2 * i + 1]}) {
      const bool digit = c >= '0' && c <= '9';
      if (!digit && (c < 'a' || c > 'f')) return false;
      value = value * 16 + static_cast<unsigned>(digit ? c - '0' : c - 'a' + 10);
    }
    id[i] = static_cast<std::uint8_t>(value);
  }
  return true;
}

}  // namespace

Result<Keeper::Answer> Keeper::add(const Json& request) {
  const std::string id = stringIn(request, "volumeId");
  VolumeId bytes{};
  if (!parseId(id, bytes)) return refuse("volumeId is not 32 lower-case hex digits");
  if (ending_) return refuse("the keeper is ending");
  const Json meta = request.contains("meta") ? request["meta"] : Json();
  if (meta.dump().size() > kMaxMetaBytes) return refuse("meta is longer than 8 KiB");
  if (const auto found = volumes_.find(id); found != volumes_.end()) {
    if (found->second.busy) return refuse("another operation on volume " + id + " is under way");
    return describe(found->second, false);
  }
  if (volumes_.size() >= kMaxVolumes) return refuse("1024 volumes are kept here already");
  Volume volume;
  volume.sizeBytes = numberIn(request, "sizeBytes");
  volume.ringBytes = numberIn(request, "ringBytes");
  volume.meta = meta;
  volume.mountPath = options_.stateFolder + "/" + id;
  auto ring = WriteRing::createMemfd(bytes, volume.ringBytes);
  if (!ring.ok()) return ring.error();
  volume.ring = UniqueFd(ring.value());
  auto fuse = mountFuse(volume.mountPath);
  if (!fuse.ok()) return fuse.error();
  volume.fuse = std::move(fuse.value());
  const auto placed = volumes_.emplace(id, std::move(volume)).first;
  saveState();
  return describe(placed->second, true);
}

// What waits for the server, which may be dead at the moment, must not keep the keeper from
// starting it.
Result<Keeper::Answer> Keeper::inThread(int connection, const Json& request, const std::string& id,
                                        Volume& volume) {
  struct Work {
    Result<Answer> result = Answer{};
    LoopDevice loop;
    bool removed = false;
  };
  auto work = std::make_shared<Work>();
  const std::string op = stringIn(request, "op");
  const std::string backing = volume.mountPath + "/block";
  const std::string mountPath = volume.mountPath;
  const bool readOnly = flagIn(request, "readOnly");
  const bool force = flagIn(request, "force");
  const std::uint64_t serial = connections_.at(connection).serial;
  volume.busy = true;
  work->loop = std::move(volume.loop);
  ++threads_;
  std::thread([=, this] {
    if (op == "ATTACH_LOOP") {
      auto loop = attachLoop(backing, readOnly);
      if (loop.ok()) {
        work->loop = std::move(loop.value());
        work->result = Answer{{{"device", work->loop.path}}, {}};
      } else {
        work->result = loop.error();
      }
    } else if (op == "RESIZE_LOOP") {
      if (Status done = resizeLoop(work->loop, backing); !done.ok()) work->result = done.error();
    } else {
      Status done = Done{};
      if (work->loop.fd && force) {
        done = abandonLoop(work->loop.number, backing);
        work->loop = LoopDevice{};
      } else if (work->loop.fd) {
        LoopDevice mine{work->loop.number, work->loop.path, UniqueFd(dup(work->loop.fd.get()))};
        work->loop.fd.reset();
        done = detachLoop(std::move(mine), backing);
        if (done.ok()) {
          work->loop = LoopDevice{};
        } else if (backingFileOf(work->loop.number) == backing) {
          work->loop.fd = UniqueFd(open(work->loop.path.c_str(), O_RDWR | O_CLOEXEC));
        }
      }
      if (done.ok()) done = unmountFuse(mountPath, force);
      work->removed = done.ok();
      if (!done.ok()) work->result = done.error();
    }
    {
      const std::lock_guard lock(finishedMutex_);
      finished_.push_back([this, work, id, connection, serial, requestId = request["id"]] {
        --threads_;
        if (work->removed) {
          volumes_.erase(id);
          scratch_.drop(id);
        } else if (const auto found = volumes_.find(id); found != volumes_.end()) {
          found->second.busy = false;
          found->second.loop = std::move(work->loop);
        }
        saveState();
        // The descriptor's number may be another client's by now.
        const auto asker = connections_.find(connection);
        if (asker != connections_.end() && asker->second.serial == serial)
          reply(connection, requestId, work->result);
      });
    }
    const std::uint64_t one = 1;
    (void)!write(wakeup_.get(), &one, sizeof one);
  }).detach();
  return Answer{};
}

}  // namespace nabu::volume::keeper
