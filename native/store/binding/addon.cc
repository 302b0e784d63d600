#include <napi.h>

#include <memory>
#include <set>

#include "store/binding/store_object.h"

namespace nabu::store::binding {

Napi::Function StoreObject::define(Napi::Env env, std::set<StoreObject*>& alive) {
  return DefineClass(env, "Store",
                     {InstanceMethod<&StoreObject::append>("append"),
                      InstanceMethod<&StoreObject::read>("read"),
                      InstanceMethod<&StoreObject::view>("view"),
                      InstanceMethod<&StoreObject::endView>("endView"),
                      InstanceMethod<&StoreObject::memory>("memory"),
                      InstanceMethod<&StoreObject::lookup>("lookup"),
                      InstanceMethod<&StoreObject::remove>("remove"),
                      InstanceMethod<&StoreObject::removeOwnerRange>("removeOwnerRange"),
                      InstanceMethod<&StoreObject::setOwner>("setOwner"),
                      InstanceMethod<&StoreObject::getOwner>("getOwner"),
                      InstanceMethod<&StoreObject::fenceOf>("fenceOf"),
                      InstanceMethod<&StoreObject::listOwners>("listOwners"),
                      InstanceMethod<&StoreObject::markDegraded>("markDegraded"),
                      InstanceMethod<&StoreObject::listDegraded>("listDegraded"),
                      InstanceMethod<&StoreObject::setFencesComplete>("setFencesComplete"),
                      InstanceMethod<&StoreObject::setCompleteSince>("setCompleteSince"),
                      InstanceMethod<&StoreObject::checkpoint>("checkpoint"),
                      InstanceMethod<&StoreObject::close>("close"),
                      InstanceMethod<&StoreObject::identity>("identity"),
                      InstanceMethod<&StoreObject::stats>("stats"),
                      InstanceMethod<&StoreObject::detail>("detail")},
                     &alive);
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  // Freed after the hook below; stores that are still open then end as in a crash, without calling
  // back.
  auto owned = std::make_unique<std::set<StoreObject*>>();
  std::set<StoreObject*>& alive = *owned;
  env.SetInstanceData<std::set<StoreObject*>>(owned.release());
  env.AddCleanupHook(
      [](std::set<StoreObject*>* stores) {
        const std::set<StoreObject*> open = *stores;
        for (StoreObject* store : open) store->shutDown();
      },
      &alive);
  exports.Set("Store", StoreObject::define(env, alive));
  return exports;
}

}  // namespace nabu::store::binding

static Napi::Object InitStore(Napi::Env env, Napi::Object exports) {
  return nabu::store::binding::init(env, exports);
}
NODE_API_MODULE(store, InitStore)
