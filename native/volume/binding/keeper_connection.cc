#include "volume/binding/keeper_connection.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <memory>

#include "volume/binding/errors.h"

namespace nabu::volume::binding {

Napi::Function KeeperConnection::define(Napi::Env env) {
  return DefineClass(env, "KeeperConnection",
                     {InstanceMethod<&KeeperConnection::send>("send"),
                      InstanceMethod<&KeeperConnection::close>("close")});
}

KeeperConnection::KeeperConnection(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<KeeperConnection>(info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsString()) {
    throwBadArgument(env, "socketPath", "is not a string");
    return;
  }
  if (!info[1].IsFunction() || !info[2].IsFunction()) {
    throwBadArgument(env, "onMessage", "and onClosed must be functions");
    return;
  }
  const auto socket = keeper::connectTo(info[0].As<Napi::String>().Utf8Value());
  if (!socket.ok()) {
    throwError(env, socket.error());
    return;
  }
  socket_ = socket.value();
  onMessage_ = Napi::Persistent(info[1].As<Napi::Function>());
  onClosed_ = Napi::Persistent(info[2].As<Napi::Function>());
  wakeup_ =
      Napi::ThreadSafeFunction::New(env, Napi::Function::New(env, [](const Napi::CallbackInfo&) {}),
                                    "nabu keeper connection", 0, 1);
  *open_ = true;
  Ref();  // until closed: the thread points here
  reader_ = std::thread([this] { read(); });
  napi_add_env_cleanup_hook(env, onEnvironmentEnd, this);
}

KeeperConnection::~KeeperConnection() {
  if (socket_ < 0) return;
  napi_remove_env_cleanup_hook(Env(), onEnvironmentEnd, this);
  shutDown();
}

void KeeperConnection::read() {
  while (true) {
    int error = 0;
    auto message = keeper::receiveMessage(socket_, error);
    auto* carried = message ? new keeper::Message(std::move(*message)) : nullptr;
    const auto status = wakeup_.BlockingCall(
        carried, [this, error, open = open_](Napi::Env env, Napi::Function, keeper::Message* m) {
          const std::unique_ptr<keeper::Message> owned(m);
          const bool wanted = env != nullptr && *open;
          if (wanted && m != nullptr) return deliver(env, m);
          if (m != nullptr) {
            for (const int fd : m->fds) ::close(fd);
          } else if (wanted) {
            onClosed_.Call(
                {Napi::String::New(env, error == 0 ? "the keeper hung up" : std::strerror(error))});
          }
        });
    if (carried == nullptr) break;
    if (status != napi_ok) {
      for (const int fd : carried->fds) ::close(fd);
      delete carried;
      break;
    }
  }
  wakeup_.Release();
}

void KeeperConnection::deliver(Napi::Env env, keeper::Message* message) {
  const Napi::HandleScope scope(env);
  Napi::Array fds = Napi::Array::New(env, message->fds.size());
  for (std::uint32_t i = 0; i < message->fds.size(); ++i) fds.Set(i, message->fds[i]);
  onMessage_.Call({Napi::String::New(env, message->json), fds});
}

// (json): an error when the keeper does not take it.
Napi::Value KeeperConnection::send(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!*open_) {
    throwError(env, {Failure::kWrongState, "a message to the keeper", "the connection is closed"});
  } else if (!info[0].IsString()) {
    throwBadArgument(env, "json", "is not a string");
  } else if (const int error =
                 keeper::sendMessage(socket_, info[0].As<Napi::String>().Utf8Value(), {})) {
    throwError(env, {Failure::kSystem, "a message to the keeper", std::strerror(error)});
  }
  return env.Undefined();
}

Napi::Value KeeperConnection::close(const Napi::CallbackInfo& info) {
  if (*open_) {
    shutDown();
    Unref();
  }
  return info.Env().Undefined();
}

void KeeperConnection::onEnvironmentEnd(void* self) {
  static_cast<KeeperConnection*>(self)->shutDown();
}

void KeeperConnection::shutDown() {
  if (!*open_) return;
  *open_ = false;
  ::shutdown(socket_, SHUT_RDWR);
  reader_.join();
  ::close(socket_);
  onMessage_.Reset();
  onClosed_.Reset();
}

}  // namespace nabu::volume::binding
