#pragma once

#include <napi.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "store/binding/loop_driver.h"
#include "store/store.h"

namespace nabu::store::binding {

/**
 * One store for JavaScript. Operations take a token and return their status at once or kPending;
 * results of pending ones are collected in an Int32Array of (token, status, value) triples and
 * announced with one callback per turn of the loop.
 */
class StoreObject : public Napi::ObjectWrap<StoreObject>, public LoopDriver::Sink {
 public:
  static Napi::Function define(Napi::Env env, std::set<StoreObject*>& alive);
  explicit StoreObject(const Napi::CallbackInfo& info);
  ~StoreObject() override;

  /** The environment ends: as a crash, without calling JavaScript. */
  void shutDown();

 private:
  // arguments, offsets and statuses: engine/store/native.ts
  Napi::Value append(const Napi::CallbackInfo& info);
  Napi::Value read(const Napi::CallbackInfo& info);
  Napi::Value view(const Napi::CallbackInfo& info);
  Napi::Value endView(const Napi::CallbackInfo& info);
  Napi::Value memory(const Napi::CallbackInfo& info);
  Napi::Value lookup(const Napi::CallbackInfo& info);
  Napi::Value remove(const Napi::CallbackInfo& info);
  Napi::Value removeOwnerRange(const Napi::CallbackInfo& info);
  Napi::Value setOwner(const Napi::CallbackInfo& info);
  Napi::Value getOwner(const Napi::CallbackInfo& info);
  Napi::Value fenceOf(const Napi::CallbackInfo& info);
  Napi::Value listOwners(const Napi::CallbackInfo& info);
  Napi::Value markDegraded(const Napi::CallbackInfo& info);
  Napi::Value listDegraded(const Napi::CallbackInfo& info);
  Napi::Value setFencesComplete(const Napi::CallbackInfo& info);
  Napi::Value setCompleteSince(const Napi::CallbackInfo& info);
  Napi::Value checkpoint(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);
  Napi::Value identity(const Napi::CallbackInfo& info);
  Napi::Value stats(const Napi::CallbackInfo& info);
  Napi::Value detail(const Napi::CallbackInfo& info);

  void poll() override;
  bool hasResults() const override { return !results_.empty(); }
  void deliver();
  uint64_t nowMs();

  bool usable(Napi::Env env);
  Done done(uint32_t token);
  static void ended(void* self, uint64_t token, Status status, uint64_t value);
  /** Accounts for a pending operation and wakes the loop. */
  Napi::Value started(Napi::Env env, Status status);
  Napi::Value startedAndPolled(Napi::Env env, Status status, int32_t token);
  /** What read and view are asked for; false with an error pending. */
  bool takeSelection(const Napi::CallbackInfo& info, size_t first, ReadRequest& request);
  bool openDevice(Napi::Env env, const Napi::Object& options, std::unique_ptr<Device>& device);
  Napi::Object ownerObject(Napi::Env env, const OwnerState& state);

  std::set<StoreObject*>& alive_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<LoopDriver> driver_;
  Napi::Reference<Napi::ArrayBuffer> slab_;
  uint8_t* slabBytes_ = nullptr;
  uint64_t slabLength_ = 0;
  Napi::FunctionReference callback_;
  Napi::Reference<Napi::Float64Array> clock_;
  double* clockMs_ = nullptr;
  double lastClockMs_ = 0;
  uint64_t lastClockAt_ = 0;
  Napi::Reference<Napi::Int32Array> resultArray_;
  int32_t* resultSlots_ = nullptr;
  struct Result {
    int32_t token;
    int32_t status;
    int32_t value;
  };
  std::vector<Result> results_;
  uint32_t pending_ = 0;
  bool delivering_ = false;
};

}  // namespace nabu::store::binding
