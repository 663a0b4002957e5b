// Whom the API server trusts when it asks the webhook: the bundle of authorities in a
// ValidatingWebhookConfiguration, which the chart cannot know. Pure.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace weft::control_plane {

// A merge patch (RFC 7386) of the configuration that gives each of its webhooks the authorities `pem`;
// nullopt: they have them, or there is none.
std::optional<nlohmann::json> bundle_patch_for(const nlohmann::json& configuration, const std::string& pem);

}  // namespace weft::control_plane
