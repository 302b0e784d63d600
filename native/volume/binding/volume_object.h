#pragma once

#include <napi.h>

#include <memory>

#include "volume/binding/arguments.h"
#include "volume/binding/event_queue.h"
#include "volume/core/volume.h"
#include "volume/fuse/fuse_frontend.h"

namespace nabu::volume::binding {

/** Of the memory behind scratchFd: the read cache, then the request buffers for any number of
 * threads. */
std::size_t scratchBytes(std::size_t readCacheBytes);

class DirectSink;

// engine/volume/native.ts NativeVolume. Every method runs on the JavaScript thread, the core's
// owner.
class VolumeObject : public Napi::ObjectWrap<VolumeObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit VolumeObject(const Napi::CallbackInfo& info);
  ~VolumeObject() override;

 private:
  using Info = const Napi::CallbackInfo&;

  Napi::Value loadRoot(Info info);
  Napi::Value applyImage(Info info);
  Napi::Value resumeJournal(Info info);
  Napi::Value claimJournal(Info info);
  Napi::Value checkpointPublished(Info info);
  Napi::Value reapplyRing(Info info);
  Napi::Value start(Info info);
  Napi::Value seal(Info info);
  Napi::Value commit(Info info);
  Napi::Value fetched(Info info);
  Napi::Value beginCheckpoint(Info info);
  Napi::Value nextCheckpointImage(Info info);
  Napi::Value pickVictims(Info info);
  Napi::Value stageClean(Info info);
  Napi::Value cleanImage(Info info);
  Napi::Value deletable(Info info);
  Napi::Value forget(Info info);
  Napi::Value resize(Info info);
  Napi::Value setIoTimeout(Info info);
  Napi::Value fail(Info info);
  Napi::Value stats(Info info);
  Napi::Value unsealedBytes(Info info);
  Napi::Value watchWrites(Info info);
  Napi::Value close(Info info);
  Napi::Value directRead(Info info);
  Napi::Value directWrite(Info info);
  Napi::Value directTrim(Info info);
  Napi::Value directFlush(Info info);

  /** False and an error pending when the volume is closed. */
  bool open(Napi::Env env, const char* operation);
  Napi::Value image(Info info, const char* operation,
                    Result<std::optional<Sealed>> (Volume::*build)(std::span<std::byte>,
                                                                   const Position&));
  Napi::Value direct(Info info, RequestOp op);
  static void onEnvironmentEnd(void* self);
  void shutDown();

  Slab slab_;
  Napi::Reference<Napi::ArrayBuffer> slabReference_;
  std::string id_;
  std::shared_ptr<EventQueue> events_;
  std::unique_ptr<DirectSink> sink_;
  // Before the frontend: its threads use the volume until they are joined.
  std::unique_ptr<Volume> volume_;
  std::unique_ptr<fuse::FuseFrontend> frontend_;
  bool started_ = false;
  bool closed_ = false;
};

}  // namespace nabu::volume::binding
