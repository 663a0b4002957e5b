// What gRPC has to say, in our log: its errors as warnings, the rest only with --log-level debug.
#pragma once

namespace weft {

// Before gRPC is first used.
void log_for_grpc();

}  // namespace weft
