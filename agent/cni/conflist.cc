// See conflist.h. Called by the installer.
#include "agent/cni/conflist.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/strings.h"

namespace weft::agent {
namespace {

// Keeps the order of what others wrote.
using Json = nlohmann::ordered_json;

absl::StatusOr<Json> parse_list(std::string_view text) {
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return absl::InvalidArgumentError("it is no JSON object");
  const auto plugins = json.find("plugins");
  if (plugins == json.end() || !plugins->is_array() || plugins->empty()) {
    return absl::InvalidArgumentError(
        "it has no list of plugins; next: make it a .conflist, which weft-cni can stand at the end of");
  }
  for (const Json& plugin : *plugins) {
    if (!plugin.is_object()) return absl::InvalidArgumentError("one of its plugins is no object");
  }
  return json;
}

bool is_ours(const Json& plugin) {
  const auto type = plugin.find("type");
  return type != plugin.end() && type->is_string() && type->get<std::string>() == kCniPluginName;
}

Json entry_of(const CniPluginConfig& config) {
  Json exempt = Json::array();
  for (const std::string& ns : config.exempt) exempt.push_back(ns);
  return {{"type", kCniPluginName},
          {"socket", config.socket},
          {"namespacesFile", config.namespaces_file},
          {"exemptNamespaces", exempt},
          {"timeoutSeconds", config.timeout_seconds}};
}

// True when there was one.
bool remove_ours(Json& list) {
  Json& plugins = list["plugins"];
  Json kept = Json::array();
  for (Json& plugin : plugins) {
    if (!is_ours(plugin)) kept.push_back(std::move(plugin));
  }
  const bool removed = kept.size() != plugins.size();
  plugins = std::move(kept);
  return removed;
}

std::string dump(const Json& list) { return list.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"; }

}  // namespace

absl::StatusOr<std::string> with_plugin(std::string_view conflist, const CniPluginConfig& config) {
  absl::StatusOr<Json> list = parse_list(conflist);
  if (!list.ok()) return list.status();
  const Json entry = entry_of(config);
  const Json& before = (*list)["plugins"];
  const auto ours = std::count_if(before.begin(), before.end(), is_ours);
  if (ours == 1 && before.back() == entry) return std::string(conflist);
  remove_ours(*list);
  (*list)["plugins"].push_back(entry);
  return dump(*list);
}

absl::StatusOr<std::string> without_plugin(std::string_view conflist) {
  absl::StatusOr<Json> list = parse_list(conflist);
  if (!list.ok()) return list.status();
  if (!remove_ours(*list)) return std::string(conflist);
  return dump(*list);
}

std::optional<std::string> used_config(std::vector<std::string> names) {
  std::erase_if(names, [](const std::string& name) {
    return name.starts_with(".") ||
           !(name.ends_with(".conf") || name.ends_with(".conflist") || name.ends_with(".json"));
  });
  if (names.empty()) return std::nullopt;
  return *std::min_element(names.begin(), names.end());
}

}  // namespace weft::agent
