#pragma once

#include <napi.h>

#include <memory>
#include <thread>

#include "volume/keeper/seqpacket.h"

namespace nabu::volume::binding {

// engine/volume/native.ts RawKeeperConnection: Node has no sequenced-packet sockets and cannot
// receive descriptors. One thread reads; messages arrive on the JavaScript thread.
class KeeperConnection : public Napi::ObjectWrap<KeeperConnection> {
 public:
  static Napi::Function define(Napi::Env env);
  /** (socketPath, onMessage(json, fds), onClosed(reason)) */
  explicit KeeperConnection(const Napi::CallbackInfo& info);
  ~KeeperConnection() override;

 private:
  Napi::Value send(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);
  void read();
  static void onEnvironmentEnd(void* self);
  void shutDown();
  void deliver(Napi::Env env, keeper::Message* message);

  int socket_ = -1;
  // Shared with messages on their way to JavaScript, which may outlive this. JavaScript thread
  // only.
  std::shared_ptr<bool> open_ = std::make_shared<bool>(false);
  Napi::FunctionReference onMessage_;
  Napi::FunctionReference onClosed_;
  Napi::ThreadSafeFunction wakeup_;
  std::thread reader_;
};

}  // namespace nabu::volume::binding
