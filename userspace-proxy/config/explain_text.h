// The words of an explanation: why a match does not hold, and what a route does besides forwarding. Used by
// the Explainer only; pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "userspace-proxy/config/snapshot.h"

namespace weft::proxy {

// "path /cart is not below prefix /api"; of the first part that does not hold.
std::string mismatch_text(const HttpMatcher& matcher, const RequestHead& head, const SourceView& source,
                          uint16_t dialled_port);

// Appends a line for each: redirect, rewrite, timeout, retries, fault, ...
void describe_action(const Route& route, const HttpMatcher* matcher, const RequestHead& head,
                     uint16_t dialled_port, std::vector<std::string>* lines);

// False: its rewrite makes no path of this request.
bool makes_path(const RouteAction& action, const HttpMatcher* matcher, const RequestHead& head);

// Appends a line for each route that depends on the server name that a TLS client asks for.
void describe_server_names(const L4Host& host, std::vector<std::string>* lines);

// "12.5%", of parts per million.
std::string percent_text(uint32_t ppm);
std::string load_balancer_text(LoadBalancer balancer);

}  // namespace weft::proxy
