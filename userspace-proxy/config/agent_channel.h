// The channel to the agent's socket, on which one stream stays open for as long as both live. Used by the
// config client and the reporter; any thread.
#pragma once

#include <memory>
#include <string>

#include <grpcpp/grpcpp.h>

namespace weft::proxy {

// Dials when the first call is made; `target` as gRPC names it ("unix:/run/weft/xds.sock").
// `max_receive_bytes`: of one message.
std::shared_ptr<grpc::Channel> agent_channel(const std::string& target, int max_receive_bytes);

}  // namespace weft::proxy
