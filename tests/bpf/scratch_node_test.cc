// What a bpf suite leaves on the machine when it is killed: no program, no namespace.
#include "tests/bpf/scratch_node.h"

#include <bpf/bpf.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <set>

#include "tests/bpf/child.h"
#include "tests/harness/wait.h"

namespace weft::agent {
namespace {

std::set<uint32_t> loaded_programs() {
  std::set<uint32_t> out;
  for (uint32_t id = 0; bpf_prog_get_next_id(id, &id) == 0;) out.insert(id);
  return out;
}

// Makes what every suite has, for whoever kills it.
class HeldNode : public OpenNode {
 public:
  void hold(int told) {
    SetUp();
    if (!HasFatalFailure()) enroll_client();
    write_all(told, HasFailure() ? "f" : "r");
    pause();
  }
  void TestBody() override {}
};

TEST(ScratchNodeTest, OfASuiteThatIsKilledNoProgramAndNoNamespaceStays) {
  const std::set<uint32_t> before = loaded_programs();
  int ends[2] = {-1, -1};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const pid_t suite = fork();
  if (suite == 0) {
    ::close(ends[0]);
    HeldNode().hold(ends[1]);
    _exit(1);
  }
  ::close(ends[1]);
  const UniqueFd control(ends[0]);
  char said = 0;
  EXPECT_EQ(::read(control.get(), &said, 1), 1);
  EXPECT_EQ(said, 'r');
  EXPECT_GT(loaded_programs().size(), before.size());
  ASSERT_EQ(kill(suite, SIGKILL), 0);
  ASSERT_EQ(waitpid(suite, nullptr, 0), suite);
  // The kernel frees programs after a grace period.
  EXPECT_TRUE(harness::wait_until(std::chrono::seconds(5), [&] { return loaded_programs() == before; }));
  EXPECT_NE(access(str_cat("/run/netns/kernel-c", suite).c_str(), F_OK), 0);
}

}  // namespace
}  // namespace weft::agent
