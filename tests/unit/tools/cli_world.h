// The command line against an Admin server in this process, on a real Unix socket.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "agent/feed/grpc_unix_server.h"
#include "tests/unit/base/scratch_folder.h"
#include "tools/weft/cli.h"
#include "tools/weft/output.h"

namespace weft::cli {

// `Admin`: the service that answers.
template <typename Admin>
class CliWorld : public ::testing::Test {
 protected:
  void SetUp() override {
    auto server = agent::GrpcUnixServer::start(folder_.file("agent.sock"), agent::SocketAccess{}, {&admin_});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = std::move(*server);
  }
  void TearDown() override { server_.reset(); }
  int run(std::vector<std::string> args) {
    std::ostringstream out, err;
    Environment env{out, err, false,
                    [this](const KernelQuestion& asked) {
                      asked_ = asked;
                      return kernel_;
                    },
                    [this](const std::vector<std::string>&) { return findings_; }};
    args.insert(args.begin(), {"--run-dir", folder_.path()});
    const int code = cli::run(args, env);
    out_ = out.str();
    err_ = err.str();
    return code;
  }

  const test::ScratchFolder folder_;
  Admin admin_;
  std::string out_, err_;
  std::unique_ptr<agent::GrpcUnixServer> server_;
  KernelQuestion asked_;
  std::vector<KernelResult> kernel_;
  std::vector<AnalysisFinding> findings_;
};

}  // namespace weft::cli
