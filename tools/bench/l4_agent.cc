// See l4_agent.h. One order, one answer; both are plain structs, because both ends are one program.
#include "tools/bench/l4_agent.h"

#include <grpcpp/grpcpp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <memory>
#include <set>

#include "proto/xds/discovery.grpc.pb.h"

namespace weft::bench {
namespace {

namespace xds = envoy::service::discovery::v3;

enum class Kind : uint32_t { kLoad, kChange, kMemory };

struct AgentOrder {
  Kind kind;
  uint32_t first = 0;
  uint32_t second = 0;
};

struct Answer {
  double first = 0;
  double second = 0;
};

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "weft-bench-l4: %s\n", what);
  std::exit(1);
}

// Runs `serve` with its end of a pair in a child; returns the other end.
UniqueFd fork_peer(pid_t* pid, const std::function<void(int control)>& serve) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) fail("socketpair");
  *pid = ::fork();
  if (*pid < 0) fail("fork");
  if (*pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::close(pair[0]);
    serve(pair[1]);
    ::_exit(0);
  }
  ::close(pair[1]);
  return UniqueFd(pair[0]);
}

// The end of its socket is the order to stop, so that programs and namespaces are let go in order.
void end(pid_t pid, UniqueFd& control) {
  control.reset();
  if (pid > 0) ::waitpid(pid, nullptr, 0);
}

Answer memory_now() {
  Answer out;
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    unsigned long kib = 0;
    if (std::sscanf(line.c_str(), "VmRSS: %lu", &kib) == 1) out.first = static_cast<double>(kib) / 1024;
    if (std::sscanf(line.c_str(), "VmHWM: %lu", &kib) == 1) out.second = static_cast<double>(kib) / 1024;
  }
  return out;
}

void serve_agent(const L4Mesh::Options& options, int control) {
  std::unique_ptr<L4Mesh> mesh;
  AgentOrder order{};
  while (::read(control, &order, sizeof(order)) == sizeof(order)) {
    if (mesh == nullptr) mesh = std::make_unique<L4Mesh>(options);
    Answer answer;
    if (order.kind == Kind::kLoad) {
      const L4Mesh::Spent spent = mesh->load(order.first);
      answer = {spent.seconds, spent.cpu_seconds};
    } else if (order.kind == Kind::kChange) {
      answer.first = mesh->change(order.first, order.second);
    } else {
      answer = memory_now();
    }
    if (::write(control, &answer, sizeof(answer)) != sizeof(answer)) return;
  }
}

Answer ask(int control, const AgentOrder& order) {
  Answer answer;
  if (::write(control, &order, sizeof(order)) != sizeof(order) ||
      ::read(control, &answer, sizeof(answer)) != sizeof(answer)) {
    fail("the agent's process ended early");
  }
  return answer;
}

constexpr const char* kTypes[] = {control_plane::kAuthorizationType, control_plane::kAddressType,
                                  control_plane::kDestinationPolicyType, control_plane::kRouteSetType};

void serve_subscriber(const std::string& path, int control) {
  char go = 0;
  if (::read(control, &go, 1) != 1) return;
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  const auto stub = xds::AggregatedDiscoveryService::NewStub(
      grpc::CreateCustomChannel("unix:" + path, grpc::InsecureChannelCredentials(), arguments));
  grpc::ClientContext context;
  const auto stream = stub->DeltaAggregatedResources(&context);
  for (const char* type : kTypes) {
    xds::DeltaDiscoveryRequest request;
    request.mutable_node()->set_id("bench");
    request.set_type_url(type);
    stream->Write(request);
  }
  std::set<std::string> answered;
  uint64_t resources = 0;
  // Ends when the agent does.
  for (auto response = std::make_unique<xds::DeltaDiscoveryResponse>(); stream->Read(response.get());
       response = std::make_unique<xds::DeltaDiscoveryResponse>()) {
    resources += static_cast<uint64_t>(response->resources_size());
    xds::DeltaDiscoveryRequest acknowledgement;
    acknowledgement.set_type_url(response->type_url());
    acknowledgement.set_response_nonce(response->nonce());
    stream->Write(acknowledgement);
    answered.insert(response->type_url());
    if (answered.size() < std::size(kTypes) || resources == 0) continue;
    if (go != 0 && ::write(control, &resources, sizeof(resources)) != sizeof(resources)) break;
    go = 0;
  }
}

}  // namespace

AgentPeer::AgentPeer(const L4Mesh::Options& options)
    : control_(fork_peer(&pid_, [&options](int control) { serve_agent(options, control); })) {}

AgentPeer::~AgentPeer() { end(pid_, control_); }

L4Mesh::Spent AgentPeer::load(uint32_t services) {
  const Answer answer = ask(control_.get(), {Kind::kLoad, services, 0});
  return {answer.first, answer.second};
}

double AgentPeer::change(uint32_t index, uint32_t version) {
  return ask(control_.get(), {Kind::kChange, index, version}).first;
}

Memory AgentPeer::memory() {
  const Answer answer = ask(control_.get(), {Kind::kMemory, 0, 0});
  return {answer.first, answer.second};
}

SubscriberPeer::SubscriberPeer(const std::string& socket_path)
    : control_(fork_peer(&pid_, [&socket_path](int control) { serve_subscriber(socket_path, control); })) {}

SubscriberPeer::~SubscriberPeer() {
  if (pid_ > 0) ::kill(pid_, SIGKILL);
  end(pid_, control_);
}

uint64_t SubscriberPeer::subscribe() {
  uint64_t resources = 0;
  if (::write(control_.get(), "g", 1) != 1 ||
      ::read(control_.get(), &resources, sizeof(resources)) != sizeof(resources)) {
    fail("the subscriber ended early");
  }
  return resources;
}

}  // namespace weft::bench
