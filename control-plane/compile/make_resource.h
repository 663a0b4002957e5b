// From a message to the bytes that proxies get. Pure; of the compiler.
#pragma once

#include <google/protobuf/message.h>

#include <string>

#include "control-plane/control_plane.h"
#include "proto/istio/workload.pb.h"

namespace weft::control_plane {

// Maps in key order, so that equal content gives equal bytes within one build.
std::string serialize(const google::protobuf::Message& message);

// Its version says whether the content is another.
Resource make_resource(const char* type, const std::string& name, const google::protobuf::Message& message);

// Adds a message of Weft's to one of Istio's; `name` is its type.
void extend(google::protobuf::RepeatedPtrField<istio::workload::Extension>& extensions,
            const std::string& name, const google::protobuf::Message& message);

}  // namespace weft::control_plane
