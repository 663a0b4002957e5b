// See ca_bundle.h.
#include "control-plane/status/ca_bundle.h"

#include "absl/strings/escaping.h"
#include "control-plane/kubernetes/json_fields.h"

namespace weft::control_plane {

std::optional<nlohmann::json> bundle_patch_for(const nlohmann::json& configuration, const std::string& pem) {
  const std::string bundle = absl::Base64Escape(pem);
  nlohmann::json webhooks = array_at(configuration, "webhooks");
  bool differs = false;
  for (nlohmann::json& webhook : webhooks) {
    nlohmann::json client = object_at(webhook, "clientConfig");
    if (text_at(client, "caBundle") == bundle) continue;
    differs = true;
    client["caBundle"] = bundle;
    webhook["clientConfig"] = std::move(client);
  }
  if (!differs) return std::nullopt;
  return nlohmann::json{
      {"metadata", {{"resourceVersion", text_at(object_at(configuration, "metadata"), "resourceVersion")}}},
      {"webhooks", std::move(webhooks)}};
}

}  // namespace weft::control_plane
