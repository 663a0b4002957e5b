// The plugin's entry in a CNI network configuration list (SPEC.md, "Network configuration format"): put in
// and taken out, everything else kept. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/cni/plugin.h"

namespace weft::agent {

// The list with our entry last, in place of an entry that was there; the text itself when it stands there as
// wanted. InvalidArgument: it is no list of plugins.
absl::StatusOr<std::string> with_plugin(std::string_view conflist, const CniPluginConfig& config);
// The list without; the text itself when it has none.
absl::StatusOr<std::string> without_plugin(std::string_view conflist);

// Which of a folder's files a runtime uses: the first of *.conf, *.conflist and *.json by name. nullopt:
// none.
std::optional<std::string> used_config(std::vector<std::string> names);

}  // namespace weft::agent
