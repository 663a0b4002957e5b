// What a call over TLS shows of who makes it, and the check of it before any service of the server hears of
// the call. Threads of gRPC.
#pragma once

#include <memory>
#include <string>

#include <grpcpp/grpcpp.h>

#include "absl/status/statusor.h"
#include "control-plane/serve/callers.h"

namespace weft::control_plane {

// Refuses every call whose caller Callers::node_of() does not know, with its code and message; waits for the
// API server where a token is new. Joining alone is nobody's to prove in the call: it passes. gRPC may hold
// it a little longer than the server.
std::shared_ptr<grpc::AuthMetadataProcessor> refuse_unknown(std::shared_ptr<Callers> callers);

// The node of a call that passed; does not wait.
absl::StatusOr<std::string> node_of_call(Callers& callers, const grpc::ServerContextBase& context);

}  // namespace weft::control_plane
