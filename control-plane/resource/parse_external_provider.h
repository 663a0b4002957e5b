// One entry of MeshConfig's extensionProviders that can be asked about requests: envoyExtAuthzGrpc and
// envoyExtAuthzHttp. parse_mesh_config.cc is the only caller.
#pragma once

#include <string_view>

#include "control-plane/resource/field_reader.h"
#include "proto/weft/mesh/v1/mesh_config.pb.h"

namespace weft::control_plane {

inline constexpr std::string_view kGrpcProvider = "envoyExtAuthzGrpc";
inline constexpr std::string_view kHttpProvider = "envoyExtAuthzHttp";

// `ns`: where a service without a namespace lives. False: it is a provider of another kind.
bool parse_external_provider(const FieldReader& entry, const std::string& ns,
                             mesh::v1::ExternalProvider& out);

}  // namespace weft::control_plane
