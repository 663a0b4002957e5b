// How the listeners of both kinds of Gateway end TLS. False: the listener is not served, which was reported;
// the others of its Gateway are. Nothing that is not enforced is accepted.
#pragma once

#include <string>

#include "control-plane/resource/field_reader.h"
#include "control-plane/resource/objects.h"

namespace weft::control_plane {

// `server`: of an Istio Gateway in namespace `ns`; `tls`: its field of that name, `mode` SIMPLE or MUTUAL.
bool parse_server_termination(const FieldReader& server, const FieldReader& tls, const std::string& mode,
                              const std::string& ns, TlsTermination& out);
// `listener`: of a Gateway of the Gateway API in namespace `ns`, with mode Terminate.
bool parse_listener_termination(const FieldReader& listener, const std::string& ns, TlsTermination& out);

}  // namespace weft::control_plane
