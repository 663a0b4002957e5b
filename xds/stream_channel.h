// A channel on which one stream stays open for as long as both ends live. Used by the clients of delta ADS
// and the proxy's reporter; any thread.
#pragma once

#include <memory>
#include <string>

#include <grpcpp/grpcpp.h>

namespace weft::xds {

// istiod's own limit; one response may carry a whole cluster.
inline constexpr int kMaxMessageBytes = 200 << 20;

// Dials when the first call is made; `target` as gRPC names it ("unix:/run/weft/xds.sock", "host:port").
// `max_receive_bytes`: of one message. `server_name`: which the server's certificate has; empty: the target's
// host.
std::shared_ptr<grpc::Channel> stream_channel(
    const std::string& target, int max_receive_bytes,
    const std::shared_ptr<grpc::ChannelCredentials>& credentials = grpc::InsecureChannelCredentials(),
    const std::string& server_name = "");

// What such a channel is made with; for its test.
grpc::ChannelArguments stream_arguments(const std::string& target, int max_receive_bytes,
                                        const std::string& server_name);

}  // namespace weft::xds
