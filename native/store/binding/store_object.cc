#include "store/binding/store_object.h"

#include <uv.h>

#include <algorithm>
#include <cstring>

#include "store/binding/arguments.h"
#include "store/memory_device.h"
#include "store/uring_device.h"

// Life of a store object: opening, turns of the loop, results, the end.

namespace nabu::store::binding {
namespace {

constexpr size_t kResultsPerCall = 1024;

void throwOpenError(Napi::Env env, const OpenError& error, const std::string& device,
                    const std::string& expected) {
  using nabu::binding::throwTyped;
  switch (error.code) {
    case OpenErrorCode::kForeign:
      return throwTyped(env, "DEVICE_FOREIGN",
                        {{"device", device}, {"owner", error.message}, {"expected", expected}});
    case OpenErrorCode::kUnknownFormat:
      return throwTyped(
          env, "FORMAT_UNKNOWN",
          {{"what", "device " + device}, {"found", error.message}, {"supported", "1"}});
    case OpenErrorCode::kNotFormatted:
      return throwTyped(env, "FAILED_PRECONDITION",
                        {{"operation", "opening " + device}, {"reason", error.message}});
    case OpenErrorCode::kBadArgument:
      return throwTyped(env, "INVALID_ARGUMENT",
                        {{"field", error.message}, {"reason", "is out of range"}});
    case OpenErrorCode::kTooSmall:
      return throwTyped(env, "INVALID_ARGUMENT",
                        {{"field", "sizeBytes"}, {"reason", error.message}});
    case OpenErrorCode::kIo:
    case OpenErrorCode::kDamaged:
      return throwTyped(env, "DEVICE_FAILED", {{"device", device}, {"reason", error.message}});
  }
}

void throwDeviceError(Napi::Env env, const DeviceError& error, const char* driver,
                      const std::string& device) {
  using nabu::binding::throwTyped;
  switch (error.code) {
    case DeviceErrorCode::kUnavailable:
      return throwTyped(env, "DRIVER_UNAVAILABLE",
                        {{"port", "device"}, {"driver", driver}, {"reason", error.message}});
    case DeviceErrorCode::kBusy:
      return throwTyped(env, "FAILED_PRECONDITION",
                        {{"operation", "opening " + device}, {"reason", error.message}});
    case DeviceErrorCode::kTooSmall:
    case DeviceErrorCode::kBadArgument:
      return throwTyped(env, "INVALID_ARGUMENT",
                        {{"field", "device"}, {"reason", device + " is " + error.message}});
    case DeviceErrorCode::kNotFound:
    case DeviceErrorCode::kIo:
      return throwTyped(env, "DEVICE_FAILED", {{"device", device}, {"reason", error.message}});
  }
}

}  // namespace

bool StoreObject::openDevice(Napi::Env env, const Napi::Object& options,
                             std::unique_ptr<Device>& device) {
  const auto size = takeNumber(env, options.Get("sizeBytes"), "sizeBytes");
  if (!size) return false;
  const std::string driver = options.Get("driver").ToString();
  if (driver == "memory") {
    if (*size < kDataStart + kMinSegments * kMinSegmentBytes) {
      throwBadArgument(env, "sizeBytes", "must be at least 1.5 MiB");
      return false;
    }
    auto made = MemoryDevice::open(*size, options.Get("populate").ToBoolean());
    if (const auto* error = std::get_if<DeviceError>(&made)) {
      throwDeviceError(env, *error, "memory", "memory");
      return false;
    }
    device = std::move(std::get<0>(made));
    return true;
  }
  if (driver != "uring") {
    throwBadArgument(env, "driver", "must be one of uring, memory");
    return false;
  }
  UringOptions uring;
  uring.path = options.Get("path").ToString();
  uring.sizeBytes = *size;
  uring.create = options.Get("format").ToBoolean();
  auto made = UringDevice::open(uring);
  if (const auto* error = std::get_if<DeviceError>(&made)) {
    throwDeviceError(env, *error, "uring", uring.path);
    return false;
  }
  device = std::move(std::get<0>(made));
  return true;
}

// new Store(slab, {driver, path, sizeBytes, clusterId, nodeId, segmentBytes, format,
// tombstoneRetentionMs, maxInFlight}, clock: Float64Array(1), results: Int32Array(3 *
// kResultsPerCall), onResults(count))
StoreObject::StoreObject(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<StoreObject>(info),
      alive_(*static_cast<std::set<StoreObject*>*>(info.Data())) {
  const Napi::Env env = info.Env();
  if (!info[0].IsArrayBuffer() || !info[1].IsObject() || !info[2].IsTypedArray() ||
      !info[3].IsTypedArray() || !info[4].IsFunction()) {
    {
      throwBadArgument(env, "arguments", "must be slab, options, clock, results and a callback");
      return;
    }
  }
  auto slab = info[0].As<Napi::ArrayBuffer>();
  const auto options = info[1].As<Napi::Object>();
  auto clock = info[2].As<Napi::Float64Array>();
  auto results = info[3].As<Napi::Int32Array>();
  if (clock.TypedArrayType() != napi_float64_array || clock.ElementLength() < 1 ||
      results.TypedArrayType() != napi_int32_array ||
      results.ElementLength() < 3 * kResultsPerCall) {
    {
      throwBadArgument(env, "arguments", "clock and results must have their type and length");
      return;
    }
  }
  clockMs_ = clock.Data();
  StoreOptions store;
  const auto cluster = takeBytes(env, options.Get("clusterId"), "clusterId", 16);
  if (!cluster) return;
  std::copy_n(cluster->at, 16, store.clusterId.begin());
  store.nodeId = options.Get("nodeId").ToString();
  const auto segmentBytes = takeNumber(env, options.Get("segmentBytes"), "segmentBytes");
  if (!segmentBytes) return;
  store.segmentBytes = *segmentBytes;
  store.formatIfBlank = options.Get("format").ToBoolean();
  const auto retention =
      takeNumber(env, options.Get("tombstoneRetentionMs"), "tombstoneRetentionMs");
  if (!retention) return;
  store.tombstoneRetentionMs = *retention;
  const auto inFlight = takeNumber(env, options.Get("maxInFlight"), "maxInFlight");
  if (!inFlight) return;
  if (*inFlight < 1 || *inFlight > 65536) {
    {
      throwBadArgument(env, "maxInFlight", "must be 1 to 65536");
      return;
    }
  }
  store.maxInFlight = static_cast<uint32_t>(*inFlight);
  store.nowMs = [this] { return nowMs(); };
  const std::string name = options.Get("driver").ToString().Utf8Value() == "memory"
                               ? "memory"
                               : options.Get("path").ToString().Utf8Value();
  const std::string expected = "node " + store.nodeId;
  std::unique_ptr<Device> device;
  if (!openDevice(env, options, device)) return;
  auto opened = Store::open(std::move(device), std::move(store));
  if (const auto* error = std::get_if<OpenError>(&opened)) {
    {
      throwOpenError(env, *error, name, expected);
      return;
    }
  }
  uv_loop_s* loop = nullptr;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok) {
    {
      throwBadArgument(env, "environment", "has no event loop");
      return;
    }
  }
  store_ = std::move(std::get<0>(opened));
  driver_ = std::make_unique<LoopDriver>(loop, *store_, *this);
  slab_ = Napi::Persistent(slab);
  slabBytes_ = static_cast<uint8_t*>(slab.Data());
  slabLength_ = slab.ByteLength();
  clock_ = Napi::Persistent(clock);
  resultArray_ = Napi::Persistent(results);
  resultSlots_ = results.Data();
  callback_ = Napi::Persistent(info[4].As<Napi::Function>());
  alive_.insert(this);
  driver_->update(false);
}

StoreObject::~StoreObject() { shutDown(); }

void StoreObject::shutDown() {
  alive_.erase(this);
  driver_.reset();
  store_.reset();
  results_.clear();
}

uint64_t StoreObject::nowMs() {
  // JavaScript's clock, carried on between its calls.
  const uint64_t now = uv_hrtime() / 1000000;
  if (*clockMs_ != lastClockMs_) {
    lastClockMs_ = *clockMs_;
    lastClockAt_ = now;
  }
  return static_cast<uint64_t>(lastClockMs_) + (now - lastClockAt_);
}

void StoreObject::poll() {
  if (!store_ || delivering_) return;
  store_->poll();
  // Ended before anybody hears of it: who does may open the device again.
  if (store_->closed() && pending_ == 0) {
    const std::vector<Result> results = std::move(results_);
    shutDown();
    results_ = results;
  }
  deliver();
  if (driver_) driver_->update(pending_ > 0);
}

/** One call for many results. JavaScript may call back into this object, or end it. */
void StoreObject::deliver() {
  const Napi::Env env = Env();
  delivering_ = true;
  while (!results_.empty()) {
    const size_t count = std::min(results_.size(), kResultsPerCall);
    std::memcpy(resultSlots_, results_.data(), count * sizeof(Result));
    results_.erase(results_.begin(), results_.begin() + static_cast<std::ptrdiff_t>(count));
    const Napi::HandleScope scope(env);
    callback_.MakeCallback(env.Global(), {Napi::Number::New(env, static_cast<double>(count))});
    if (env.IsExceptionPending()) {
      // The callback is ours and does not throw; a process that ends meanwhile does.
      env.GetAndClearPendingException();
      break;
    }
  }
  delivering_ = false;
}

bool StoreObject::usable(Napi::Env env) {
  if (!store_) {
    nabu::binding::throwTyped(env, "UNAVAILABLE",
                              {{"target", "the store"}, {"reason", "it is closed"}});
    return false;
  }
  return true;
}

Done StoreObject::done(uint32_t token) { return {ended, this, token}; }

void StoreObject::ended(void* self, uint64_t token, Status status, uint64_t value) {
  auto* object = static_cast<StoreObject*>(self);
  --object->pending_;
  object->results_.push_back(
      {static_cast<int32_t>(token), static_cast<int32_t>(status), static_cast<int32_t>(value)});
}

Napi::Value StoreObject::started(Napi::Env env, Status status) {
  if (status == Status::kPending) ++pending_;
  if (!delivering_) driver_->update(pending_ > 0 || !results_.empty());
  return Napi::Number::New(env, static_cast<int>(status));
}

/**
 * A device that is memory has done its part already: then the turn of the loop that a result
 * otherwise takes is saved, and the status is the operation's own.
 */
Napi::Value StoreObject::startedAndPolled(Napi::Env env, Status status, int32_t token) {
  if (status != Status::kPending || delivering_ || !store_->device().ready()) {
    return started(env, status);
  }
  ++pending_;
  store_->poll();
  if (!results_.empty() && results_.back().token == token) {
    status = static_cast<Status>(results_.back().status);
    results_.pop_back();
  }
  driver_->update(pending_ > 0 || !results_.empty());
  return Napi::Number::New(env, static_cast<int>(status));
}

}  // namespace nabu::store::binding
