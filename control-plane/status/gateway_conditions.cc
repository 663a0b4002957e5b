// See gateway_conditions.h.
#include "control-plane/status/gateway_conditions.h"

#include <algorithm>

#include "base/strings.h"
#include "control-plane/kubernetes/json_fields.h"
#include "control-plane/resource/gateway_api.h"
#include "control-plane/status/object_messages.h"

namespace weft::control_plane {
namespace {

using Json = nlohmann::json;
using Condition = GatewayApiStatus::Condition;

// The API takes 32,768 bytes.
constexpr size_t kLongestMessage = 1024;

// With the time of the condition that was there, as long as its status is the same.
Json condition_of(const Condition& wanted, const Json& before, int64_t generation, const std::string& now) {
  const char* const status = wanted.holds ? "True" : "False";
  std::string since = now;
  for (const Json& each : before) {
    const std::string then = text_at(each, "lastTransitionTime");
    if (text_at(each, "type") == wanted.type && text_at(each, "status") == status && !then.empty())
      since = then;
  }
  return {{"type", wanted.type},
          {"status", status},
          {"reason", wanted.reason},
          {"message", wanted.message.substr(0, kLongestMessage)},
          {"observedGeneration", generation},
          {"lastTransitionTime", since}};
}

// Conditions of types that are not ours stay, before ours.
Json conditions_of(const std::vector<Condition>& wanted, const Json& before, int64_t generation,
                   const std::string& now) {
  Json out = Json::array();
  for (const Json& each : before) {
    const bool ours = std::any_of(wanted.begin(), wanted.end(), [&](const Condition& condition) {
      return text_at(each, "type") == condition.type;
    });
    if (!ours) out.push_back(each);
  }
  for (const Condition& condition : wanted) out.push_back(condition_of(condition, before, generation, now));
  return out;
}

// The entry of an array whose field `key` is `value`; null: there is none.
Json entry_with(const Json& entries, const char* key, const Json& value) {
  for (const Json& each : entries) {
    if (each.is_object() && each.contains(key) && each[key] == value) return each;
  }
  return nullptr;
}

std::string refusal(const std::vector<Finding>& errors) {
  std::string out = text_of(errors.front());
  if (errors.size() > 1) str_append(&out, " (and ", errors.size() - 1, " more)");
  return out;
}

// A parent that nobody else looks after.
bool is_ours(const Json& parent_ref, const std::string& route_ns, const GatewayApiStatus* api) {
  const std::string kind = text_at(parent_ref, "kind"), group = text_at(parent_ref, "group");
  if (kind == "Service") return group.empty() || group == "core";
  if (api == nullptr || (!kind.empty() && kind != "Gateway")) return false;
  std::string ns = text_at(parent_ref, "namespace");
  if (ns.empty()) ns = route_ns;
  return api->gateways.contains(ObjectKey{"Gateway", ns, text_at(parent_ref, "name")});
}

// Of each parent of ours, by its place in spec.parentRefs; nullopt: a newer form of the object is not judged
// yet.
std::optional<std::vector<GatewayApiStatus::Parent>> parents_of(const Json& object, const ObjectKey& key,
                                                                const std::vector<Finding>& errors,
                                                                const GatewayApiWords& words) {
  const Json refs = array_at(object_at(object, "spec"), "parentRefs");
  std::vector<GatewayApiStatus::Parent> out;
  if (!errors.empty()) {
    for (size_t i = 0; i < refs.size(); ++i) {
      if (is_ours(refs[i], key.ns, words.api))
        out.push_back({.index = i, .conditions = {{"Accepted", false, "UnsupportedValue", refusal(errors)}}});
    }
    return out;
  }
  if (words.api == nullptr) return out;
  const auto found = words.api->routes.find(key);
  if (found == words.api->routes.end()) return out;
  const int64_t generation = integer_at(object_at(object, "metadata"), "generation");
  if (found->second.generation != generation) return std::nullopt;
  for (const GatewayApiStatus::Parent& parent : found->second.parents) {
    if (parent.index < refs.size()) out.push_back(parent);
  }
  return out;
}

Json listener_of(const GatewayApiStatus::Listener& wanted, const Json& before, int64_t generation,
                 const std::string& now) {
  Json kinds = Json::array();
  for (const std::string& kind : wanted.kinds) kinds.push_back({{"group", kGatewayGroup}, {"kind", kind}});
  const Json old = entry_with(before, "name", wanted.name);
  return {{"name", wanted.name},
          {"attachedRoutes", wanted.attached_routes},
          {"supportedKinds", kinds},
          {"conditions", conditions_of(wanted.conditions, array_at(old, "conditions"), generation, now)}};
}

// `patch` without what the status says already.
std::optional<Json> changes(const Json& status, Json patch) {
  for (auto field = patch.begin(); field != patch.end();) {
    const auto known = status.find(field.key());
    field = known != status.end() && *known == *field ? patch.erase(field) : std::next(field);
  }
  if (patch.empty()) return std::nullopt;
  return patch;
}

}  // namespace

std::optional<Json> route_status_for(const Json& object, const ObjectKey& key,
                                     const std::vector<Finding>& errors, const GatewayApiWords& words) {
  const auto wanted = parents_of(object, key, errors, words);
  if (!wanted) return std::nullopt;
  const int64_t generation = integer_at(object_at(object, "metadata"), "generation");
  const Json refs = array_at(object_at(object, "spec"), "parentRefs");
  Json others = Json::array(), before = Json::array(), after = Json::array();
  for (const Json& entry : array_at(object_at(object, "status"), "parents"))
    (text_at(entry, "controllerName") == kControllerName ? before : others).push_back(entry);
  for (const GatewayApiStatus::Parent& parent : *wanted) {
    const Json& ref = refs[parent.index];
    const Json old = entry_with(before, "parentRef", ref);
    after.push_back({{"parentRef", ref},
                     {"controllerName", kControllerName},
                     {"conditions",
                      conditions_of(parent.conditions, array_at(old, "conditions"), generation, words.now)}});
  }
  // Of the others the order does not matter either: two controllers must not go on swapping places.
  if (before == after) return std::nullopt;
  for (Json& entry : after) others.push_back(std::move(entry));
  return Json{{"parents", std::move(others)}};
}

std::optional<Json> gateway_status_for(const Json& object, const ObjectKey& key,
                                       const std::vector<Finding>& errors, const GatewayApiWords& words) {
  const Json status = object_at(object, "status");
  const Json conditions = array_at(status, "conditions");
  const int64_t generation = integer_at(object_at(object, "metadata"), "generation");
  if (text_at(object_at(object, "spec"), "gatewayClassName") != kGatewayClass) return std::nullopt;
  if (!errors.empty()) {
    const std::string why = refusal(errors);
    const std::vector<Condition> refused = {{"Accepted", false, "Invalid", why},
                                            {"Programmed", false, "Invalid", why}};
    return changes(status, {{"conditions", conditions_of(refused, conditions, generation, words.now)}});
  }
  if (words.api == nullptr) return std::nullopt;
  const auto found = words.api->gateways.find(key);
  if (found == words.api->gateways.end() || found->second.generation != generation) return std::nullopt;
  const GatewayApiStatus::Gateway& wanted = found->second;
  Json listeners = Json::array();
  for (const GatewayApiStatus::Listener& listener : wanted.listeners)
    listeners.push_back(listener_of(listener, array_at(status, "listeners"), generation, words.now));
  Json patch{{"conditions", conditions_of(wanted.conditions, conditions, generation, words.now)},
             {"listeners", std::move(listeners)}};
  if (!words.addresses.empty()) {
    patch["addresses"] = Json::array();
    for (const std::string& address : words.addresses)
      patch["addresses"].push_back({{"type", "IPAddress"}, {"value", address}});
  }
  return changes(status, std::move(patch));
}

std::optional<Json> class_status_for(const Json& object, const std::string& now) {
  if (text_at(object_at(object, "spec"), "controllerName") != kControllerName) return std::nullopt;
  const Json status = object_at(object, "status"), meta = object_at(object, "metadata");
  const bool served = text_at(meta, "name") == kGatewayClass;
  const std::vector<Condition> wanted = {
      {"Accepted", served, served ? "Accepted" : "Unsupported",
       served ? "" : str_cat("Gateways of this class are not served; next: use the class ", kGatewayClass)}};
  return changes(status, {{"conditions", conditions_of(wanted, array_at(status, "conditions"),
                                                       integer_at(meta, "generation"), now)}});
}

}  // namespace weft::control_plane
