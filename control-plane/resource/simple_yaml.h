// A short cut for the YAML that manifests mostly are: block collections by indentation, scalars and flow
// collections that end on their line, ASCII. parse_document() asks it first, because libyaml takes many times
// as long for a text. It judges nothing: what it does not know, or what may be wrong, libyaml gets.
#pragma once

#include <memory_resource>
#include <optional>

#include "control-plane/resource/yaml_document.h"

namespace weft::control_plane {

// The tree that libyaml's events would give; nullopt: the text is not that simple, which says nothing about
// it. Any thread. The tree is in `memory`, but for long texts.
std::optional<YamlNode> read_simple_yaml(const YamlChunk& chunk, std::pmr::memory_resource* memory);

}  // namespace weft::control_plane
