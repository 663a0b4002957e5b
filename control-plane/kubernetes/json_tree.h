// JSON of an API server as the tree that the parsers of the kinds read (resource/yaml_document.h): lines are
// 0, for an object in a cluster has none. Fields that nobody reads are left out while parsing, so that they
// cost no memory. Pure; the limits are those of manifests.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "control-plane/resource/yaml_document.h"

namespace weft::control_plane {

// One object's text; 3 MiB is twice what etcd takes.
inline constexpr size_t kMaxObjectBytes = 3 * 1024 * 1024;

// `left_out`: paths of fields, "metadata.managedFields"; items of lists have the path of the list.
// Errors: InvalidArgument (no JSON), ResourceExhausted (a limit). Never throws.
absl::StatusOr<YamlNode> parse_json(std::string_view text, std::span<const std::string_view> left_out = {});

// Of a map: the text of the field at a dotted path; "" when it is not there. Names with dots are no paths.
std::string_view json_text(const YamlNode& root, std::string_view path);

// Equal trees have equal digests. FNV-1a, 64 bits: compared for equality with the same object's last one
// only.
uint64_t digest_of(const YamlNode& node);

}  // namespace weft::control_plane
