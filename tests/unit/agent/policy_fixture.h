// A mesh of three pods and the policies that a test writes as manifests: shop/cart (10.0.0.1), shop/web with
// the service account web (10.0.0.2), bank/teller (10.0.9.3).
#pragma once

#include <string>

#include "agent/mesh/model.h"

namespace weft::agent {

extern const char kPods[];

// One document; `spec` in flow style.
std::string authorization(const std::string& ns, const std::string& name, const std::string& spec);

// Expects no finding that is an error.
MeshModel model_of(const std::string& manifests);

}  // namespace weft::agent
