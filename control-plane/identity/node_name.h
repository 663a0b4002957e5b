// The node that a client certificate names, as the kubelet's do (Kubernetes, "Using Node Authorization").
// Pure.
#pragma once

#include <string>

#include "base/x509.h"

namespace weft::control_plane {

// NAME of the subject O=system:nodes, CN=system:node:NAME; empty: it names none, or several.
std::string node_of_certificate(X509* certificate);

}  // namespace weft::control_plane
