// Channel of stream_channel.h.
#include "xds/stream_channel.h"

namespace weft::xds {
namespace {

// A peer that vanished is noticed after the two together; a call is under way all the time.
constexpr int kPingEveryMs = 30'000;
constexpr int kPingAnswerMs = 10'000;
// After an outage a channel that calls share is back within seconds; gRPC would let two minutes pass.
constexpr int kMostBackoffMs = 5'000;

}  // namespace

grpc::ChannelArguments stream_arguments(const std::string& target, int max_receive_bytes,
                                        const std::string& server_name) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(max_receive_bytes);
  // The back-off of a stream is ours: a shared subchannel would add its own.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kMostBackoffMs);
  // Nor are calls retried here. gRPC's retry filter keeps a record of each batch in the arena of the call,
  // which is freed when the call ends: on a stream that never ends, a leak of about a kilobyte for each
  // message.
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  // Not by the method of that name, which only the library with TLS has.
  if (!server_name.empty()) arguments.SetString(GRPC_SSL_TARGET_NAME_OVERRIDE_ARG, server_name);
  if (!target.starts_with("unix:")) {
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kPingEveryMs);
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kPingAnswerMs);
    arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  }
  return arguments;
}

std::shared_ptr<grpc::Channel> stream_channel(const std::string& target, int max_receive_bytes,
                                              const std::shared_ptr<grpc::ChannelCredentials>& credentials,
                                              const std::string& server_name) {
  return grpc::CreateCustomChannel(target, credentials,
                                   stream_arguments(target, max_receive_bytes, server_name));
}

}  // namespace weft::xds
