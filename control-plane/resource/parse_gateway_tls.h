// How the listeners of both kinds of Gateway end TLS. Nothing that is not enforced is accepted: a listener
// that asks for such refuses handshakes, and the others of its Gateway are served.
#pragma once

#include <string>

#include "control-plane/resource/field_reader.h"
#include "control-plane/resource/objects.h"

namespace weft::control_plane {

// `server`: of an Istio Gateway in namespace `ns`; `tls`: its field of that name, `mode` SIMPLE, MUTUAL,
// OPTIONAL_MUTUAL or ISTIO_MUTUAL.
void parse_server_termination(const FieldReader& server, const FieldReader& tls, const std::string& mode,
                              const std::string& ns, TlsTermination& out);
// `listener`: of a Gateway of the Gateway API in namespace `ns`, with mode Terminate.
void parse_listener_termination(const FieldReader& listener, const std::string& ns, TlsTermination& out);

// Reports that `what` is not done here, and has handshakes with the listener refused for it.
void refuse_handshakes(const FieldReader& listener, std::string what, std::string remedy,
                       TlsTermination& out);

}  // namespace weft::control_plane
