// How a gateway's listener ends TLS, once the Secrets that it names are there. Pure; gateways.cc calls it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "control-plane/compile/workloads.h"
#include "control-plane/control_plane.h"
#include "proto/xds/secret.pb.h"

namespace weft::control_plane {

// The listener's host names, each once.
std::vector<std::string> sorted_hosts(const Gateway::Listener& listener);

// What the listener is called at its port, for as long as its host names are the same: where it stands in its
// Gateway, and what the others are, does not count. "IstioGateway shop/edge:443 a.example b.example".
std::string tls_server_name(const Gateway& gateway, const Gateway::Listener& listener);

// With `problem` set, and a finding, when a Secret is missing, lacks what is needed, or may not be used. A
// listener that passes TLS on is one too.
mesh::v1::TlsServer tls_server(const Gateway& gateway, const Gateway::Listener& listener,
                               const Objects& objects, std::vector<Finding>* findings);

// What has handshakes refused for the listener's host names that no other listener has.
mesh::v1::TlsServer refusing_server(const Gateway& gateway, const Gateway::Listener& listener,
                                    std::string problem);

// The Secrets that these and DestinationRules name, as proxies get them, by name: no other Secret leaves the
// control plane.
std::vector<std::pair<std::string, envoy::extensions::transport_sockets::tls::v3::Secret>> secrets_of(
    const std::vector<mesh::v1::TlsServer>& servers, const Objects& objects);

}  // namespace weft::control_plane
