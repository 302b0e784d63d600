#include "volume/binding/direct_requests.h"
#include "volume/binding/volume_object.h"

namespace nabu::volume::binding {

Napi::Value VolumeObject::direct(Info info, RequestOp op) {
  const Napi::Env env = info.Env();
  if (!open(env, "a direct request")) return env.Undefined();
  if (!started_ || frontend_) {
    throwError(env,
               {Failure::kWrongState, "a direct request",
                frontend_ ? "the volume is served through FUSE" : "the volume is not started"});
    return env.Undefined();
  }
  Request plan;
  plan.op = op;
  if (op != RequestOp::kFlush) {
    const std::uint64_t size = volume_->sizeBytes();
    const auto offset = whole(env, info[0], "offset", size);
    if (!offset) return env.Undefined();
    const auto length = whole(env, info[1], "length", size - *offset);
    if (!length) return env.Undefined();
    const std::uint64_t most = op == RequestOp::kTrim ? size : kMaxRequestBlocks * kBlockBytes;
    if (*offset % kBlockBytes != 0 || *length % kBlockBytes != 0 || *length == 0 ||
        *length > most) {
      throwBadArgument(env, "length",
                       "and offset must be multiples of 4096, reads and writes at most 1 MiB");
      return env.Undefined();
    }
    plan.block = *offset / kBlockBytes;
    plan.count = *length / kBlockBytes;
    if (op != RequestOp::kTrim) {
      const auto range = slab_.range(env, info[2], info[1]);
      if (!range) return env.Undefined();
      plan.bytes = range->data();
    }
  }
  DirectRequest& request = sink_->make(env);
  RequestSink* sink = request.sink;
  static_cast<Request&>(request) = plan;
  request.sink = sink;
  const Napi::Promise promise = request.deferred.Promise();
  int error = Volume::kMustWait;
  if (op == RequestOp::kRead) {
    volume_->read(request, 0);
    return promise;
  }
  error = op == RequestOp::kFlush ? volume_->tryFlush() : volume_->tryWrite(request, false);
  if (error != Volume::kMustWait) {
    sink_->settle(env, request.deferred, error);
    sink_->release(request);
  } else if (op == RequestOp::kFlush) {
    volume_->flush(request);
  } else {
    volume_->write(request);
  }
  return promise;
}

Napi::Value VolumeObject::directRead(Info info) { return direct(info, RequestOp::kRead); }
Napi::Value VolumeObject::directWrite(Info info) { return direct(info, RequestOp::kWrite); }
Napi::Value VolumeObject::directTrim(Info info) { return direct(info, RequestOp::kTrim); }
Napi::Value VolumeObject::directFlush(Info info) { return direct(info, RequestOp::kFlush); }

}  // namespace nabu::volume::binding
