// gRPC through the mesh with clients and servers nobody here wrote and of another language: grpcio of Python
// (tests/harness/grpc_peer.py has the cases). Every kind of call, its status, metadata and deadline,
// cancelling, many calls at a time, and a server that goes.
#include "tests/harness/mesh_test.h"

namespace weft::harness {
namespace {

// The distribution's, which has its package python3-grpcio.
constexpr char kPython[] = "/usr/bin/python3";
constexpr char kScript[] = "tests/harness/grpc_peer.py";
constexpr char kTarget[] = "10.96.0.40:50051";

class GrpcTest : public MeshTest {
 protected:
  void serve(const std::string& port_name) {
    auto pod = add_service({.name = "greeter",
                            .ip4 = "10.96.0.40",
                            .ip6 = "",
                            .ports = {{.name = port_name, .port = 50051, .target_port = 9000},
                                      {.name = port_name + "-nobody", .port = 50052, .target_port = 9001}}});
    ASSERT_TRUE(pod.ok()) << pod.status();
    auto server = Process::start(in_pod(*pod, {kPython, kScript, "serve", "9000"}));
    ASSERT_TRUE(server.ok()) << server.status();
    const absl::Status up = wait_for_port(pod->netns, pod->v4(9000), server->get(), milliseconds(30'000));
    ASSERT_TRUE(up.ok()) << up << (*server)->output();
    servers_.push_back(std::move(*server));
    ASSERT_TRUE(cli_shows({"get", "endpoints"}, pod->ip4.to_string()));
  }

  void expect_cases(std::vector<std::string> cases, const std::string& target = kTarget) {
    std::vector<std::string> argv = {kPython, kScript, "call", target};
    argv.insert(argv.end(), cases.begin(), cases.end());
    const CommandResult result = run(in_pod(client_, std::move(argv)), milliseconds(180'000));
    EXPECT_EQ(result.output, "ok\n") << result.errors;
  }
};

TEST_F(GrpcTest, EveryKindOfCallPassesWithItsStatusAndMetadata) {
  ASSERT_NO_FATAL_FAILURE(serve("grpc"));
  expect_cases({"unary", "empty", "large", "metadata", "status", "server_stream", "client_stream", "bidi"});
}

TEST_F(GrpcTest, CancelsAndDeadlinesReachTheServer) {
  ASSERT_NO_FATAL_FAILURE(serve("grpc"));
  expect_cases({"cancel", "deadline"});
}

TEST_F(GrpcTest, AServerMayAnswerBeforeTheClientHasSaidAll) {
  ASSERT_NO_FATAL_FAILURE(serve("grpc"));
  expect_cases({"early_end"});
}

TEST_F(GrpcTest, ManyCallsAndStreamsAtATimeAllEnd) {
  ASSERT_NO_FATAL_FAILURE(serve("grpc"));
  expect_cases({"concurrent", "concurrent_streams"});
}

TEST_F(GrpcTest, AServerThatGoesLosesNoCall) {
  ASSERT_NO_FATAL_FAILURE(serve("grpc"));
  expect_cases({"goaway"});
}

TEST_F(GrpcTest, NobodyThereIsUnavailable) {
  ASSERT_NO_FATAL_FAILURE(serve("grpc"));
  expect_cases({"unavailable"}, "10.96.0.40:50052");
}

TEST_F(GrpcTest, APortOfUnknownProtocolIsFoundOutAndServedTheSame) {
  ASSERT_NO_FATAL_FAILURE(serve("any"));
  expect_cases({"unary", "metadata", "status", "bidi", "cancel"});
}

}  // namespace
}  // namespace weft::harness
