// See gateway_policies.h.
#include "control-plane/compile/gateway_policies.h"

#include <algorithm>
#include <iterator>
#include <map>

#include "base/strings.h"
#include "control-plane/compile/gateway_identity.h"
#include "control-plane/resource/host_name.h"

namespace weft::control_plane {
namespace {

bool in_reach(const ObjectMeta& meta, const Gateway& gateway) {
  return meta.ns == kRootNamespace || meta.ns == gateway.meta.ns;
}

// A target is in the namespace of the object, and of the Gateway API.
bool names(const std::vector<std::string>& targets, const ObjectMeta& meta, const Gateway& gateway) {
  return !gateway.istio && meta.ns == gateway.meta.ns &&
         std::find(targets.begin(), targets.end(), gateway.meta.name) != targets.end();
}

std::string resource_name(const ObjectMeta& meta) { return str_cat(meta.ns, "/", meta.name); }

template <typename T>
void add_names(const std::vector<const T*>& objects, std::span<const Listening> listeners,
               google::protobuf::RepeatedPtrField<std::string>* out) {
  for (const T* object : objects) {
    const auto reaches = [object](const Listening& one) { return selects(*object, *one.gateway); };
    if (std::any_of(listeners.begin(), listeners.end(), reaches)) *out->Add() = resource_name(object->meta);
  }
}

bool has_host(const Gateway::Listener& listener, const std::string& host) {
  return std::any_of(listener.hosts.begin(), listener.hosts.end(), [&host](const auto& one) {
    return host == "*" || one.name == "*" || one.name == host || host_covers(one.name, host);
  });
}

}  // namespace

bool selects(const AuthorizationPolicy& policy, const Gateway& gateway) {
  if (!policy.gateways.empty() || !policy.services.empty())
    return names(policy.gateways, policy.meta, gateway);
  if (!in_reach(policy.meta, gateway)) return false;
  return policy.selector.empty() || selects(policy.selector, gateway.labels);
}

bool selects(const RequestAuthentication& object, const Gateway& gateway) {
  if (object.message.gateways_only()) return names(object.gateways, object.meta, gateway);
  if (!in_reach(object.meta, gateway)) return false;
  const std::map<std::string, std::string> selector(object.message.selector().begin(),
                                                    object.message.selector().end());
  return selector.empty() || selects(selector, gateway.labels);
}

// Objects are in the order of their kinds, namespaces and names, and so are the lists made of them.
GatewayPolicyIndex::GatewayPolicyIndex(const Objects& objects) {
  for_each<AuthorizationPolicy>(objects,
                                [this](const AuthorizationPolicy& policy) { policies_.push_back(&policy); });
  for_each<RequestAuthentication>(objects, [this](const RequestAuthentication& object) {
    if (object.message.rules_size() > 0) authentications_.push_back(&object);
  });
}

bool GatewayPolicyIndex::asks_provider(const Gateway& gateway) const {
  return std::any_of(policies_.begin(), policies_.end(), [&gateway](const AuthorizationPolicy* policy) {
    return !policy->provider.empty() && selects(*policy, gateway);
  });
}

mesh::v1::GatewayPolicies GatewayPolicyIndex::of(std::span<const Listening> listeners) const {
  mesh::v1::GatewayPolicies out;
  add_names(policies_, listeners, out.mutable_authorizations());
  add_names(authentications_, listeners, out.mutable_request_authentications());
  for (const Listening& one : listeners) {
    if (!asks_provider(*one.gateway)) continue;
    out.set_asks_as(gateway_identity(*one.gateway));
    break;
  }
  return out;
}

mesh::v1::GatewayPolicies GatewayPolicyIndex::of(std::span<const Listening> listeners,
                                                 const std::string& host) const {
  std::vector<Listening> with_host;
  std::copy_if(listeners.begin(), listeners.end(), std::back_inserter(with_host),
               [&host](const Listening& one) { return has_host(*one.listener, host); });
  return of(with_host);
}

}  // namespace weft::control_plane
