// Header values with %VARIABLES%, as Envoy and Istio write them, taken apart. Any thread, pure.
#pragma once

#include <string>
#include <string_view>

#include "proto/weft/mesh/v1/mesh.pb.h"

namespace weft::control_plane {

// Fills `out`; "" when the text is fine, else what is wrong with it. "%%" is a literal percent sign.
// `response`: variables that only a response has are allowed.
std::string parse_value_template(std::string_view text, bool response, mesh::v1::ValueTemplate& out);

// The names that may stand between percent signs, for remedies.
std::string known_variables(bool response);

}  // namespace weft::control_plane
