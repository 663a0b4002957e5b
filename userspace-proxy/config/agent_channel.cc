// Channel of agent_channel.h.
#include "userspace-proxy/config/agent_channel.h"

namespace weft::proxy {

std::shared_ptr<grpc::Channel> agent_channel(const std::string& target, int max_receive_bytes) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(max_receive_bytes);
  // Back-off is ours: a shared subchannel would add its own, which ends at two minutes.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // Nor are calls retried here. gRPC's retry filter keeps a record of each batch in the arena of the call,
  // which is freed when the call ends: on a stream that never ends, a leak of about a kilobyte for each
  // message.
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  return grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace weft::proxy
