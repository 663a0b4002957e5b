// Makes and removes the scratch node with ip(8) and mount(2). Used by the fixtures of tests/bpf only.
#include "tests/bpf/scratch_node.h"

#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "base/strings.h"

namespace weft::agent {
namespace {

void run(const std::string& command) { ASSERT_EQ(std::system(command.c_str()), 0) << command; }

}  // namespace

std::string ScratchNode::ip(const std::string& netns, const std::string& arguments) {
  FILE* pipe = popen(str_cat("ip -n ", netns, " ", arguments, " 2>&1").c_str(), "r");
  if (pipe == nullptr) return "popen failed";
  std::string out;
  std::array<char, 4096> buffer{};
  for (size_t n = 0; (n = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) out.append(buffer.data(), n);
  pclose(pipe);
  return out;
}

void ScratchNode::SetUp() {
  const std::string id = str_cat(getpid());
  client_ = "kernel-c" + id;
  server_ = "kernel-s" + id;
  auto sandbox = harness::Sandbox::create("kernel");
  ASSERT_TRUE(sandbox.ok()) << sandbox.status();
  sandbox_ = *std::move(sandbox);
  cgroup_ = sandbox_->cgroup();
  bpffs_ = sandbox_->bpffs();
  ASSERT_NO_FATAL_FAILURE(run(str_cat("ip netns add ", client_, " && ip netns add ", server_)));
  ASSERT_NO_FATAL_FAILURE(
      run(str_cat("ip -n ", client_, " link add eth0 type veth peer name eth0 netns ", server_)));
  const auto configure = [](const std::string& ns, const char* v4, const char* v6) {
    run(str_cat("ip -n ", ns, " link set lo up && ip -n ", ns, " link set eth0 up && ip -n ", ns,
                " addr add ", v4, "/24 dev eth0 && ip -n ", ns, " addr add ", v6, "/64 dev eth0 nodad"));
  };
  ASSERT_NO_FATAL_FAILURE(configure(client_, kClientV4, kClientV6));
  ASSERT_NO_FATAL_FAILURE(configure(server_, kServerV4, kServerV6));
}

void ScratchNode::TearDown() {
  dataplane_.reset();
  for (const std::string& ns : {client_, server_}) std::system(str_cat("ip netns del ", ns).c_str());
  std::error_code error;
  std::filesystem::remove_all(pin_root(), error);
  EXPECT_EQ(rmdir(cgroup_.c_str()), 0) << "a process is left in " << cgroup_;
  sandbox_.reset();
}

void ScratchNode::open_dataplane(uint32_t listeners) {
  auto opened = Dataplane::open({.pin_root = pin_root(),
                                 .cgroup = cgroup_,
                                 .listeners_per_namespace = listeners,
                                 .shortcut = shortcut_});
  ASSERT_TRUE(opened.ok()) << opened.status();
  dataplane_ = *std::move(opened);
}

EnrolledNamespace ScratchNode::enroll_client() {
  auto enrolled = dataplane_->enroll(client_plan());
  EXPECT_TRUE(enrolled.ok()) << enrolled.status();
  return enrolled.ok() ? *std::move(enrolled) : EnrolledNamespace{};
}

}  // namespace weft::agent
