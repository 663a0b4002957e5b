// See policy_manifest.h.
#include "control-plane/policy_manifest.h"

#include <utility>
#include <variant>

#include "control-plane/compile/workloads.h"
#include "control-plane/resource/parse_file.h"

namespace weft::control_plane {

PolicyManifest read_policies(const std::string& file, std::string_view text) {
  ParsedFile parsed = parse_file(file, text);
  PolicyManifest out;
  out.findings = std::move(parsed.findings);
  for (Object& object : parsed.objects) {
    auto* policy = std::get_if<AuthorizationPolicy>(&object);
    if (policy == nullptr) {
      out.others.push_back(key_of(object).to_string());
      continue;
    }
    WrittenPolicy written{
        std::move(policy->policy), std::move(policy->selector), {}, policy->meta.ns == kRootNamespace};
    for (const std::string& service : policy->services) {
      ObjectMeta target;
      target.ns = policy->meta.ns;
      target.name = service;
      written.services.push_back(service_key(target));
    }
    out.policies.push_back(std::move(written));
  }
  return out;
}

}  // namespace weft::control_plane
