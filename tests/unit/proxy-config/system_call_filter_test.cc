// What a confined process may still do. In a child each, as there is no way back.
#include "userspace-proxy/system_call_filter.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <functional>
#include <thread>

namespace weft::proxy {
namespace {

constexpr int kNotConfined = 99;

// How a confined child ended that did this: its exit code, or 1000 and the signal.
int confined(const std::function<int()>& work) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(confine_system_calls().ok() ? work() : kNotConfined);
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

// 0, or the error.
int error_of(long result) { return result >= 0 ? 0 : errno; }

TEST(SystemCallFilterTest, WhatServesGoesOn) {
  EXPECT_EQ(confined([] {
              int done = 1;
              std::thread([&done] { done = 0; }).join();
              return done;
            }),
            0);
  EXPECT_EQ(confined([] { return error_of(::socket(AF_INET6, SOCK_STREAM, 0)); }), 0);
  EXPECT_EQ(confined([] { return error_of(::open("/proc/self/status", O_RDONLY)); }), 0);
  EXPECT_EQ(confined([] {
              return ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
                     MAP_FAILED;
            }),
            0);
  EXPECT_EQ(confined([] { return ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0 : 1; }), 0);
}

TEST(SystemCallFilterTest, WhatIsNotOnTheListFails) {
  EXPECT_EQ(confined([] { return error_of(::socket(AF_PACKET, SOCK_RAW, 0)); }), EPERM);
  EXPECT_EQ(confined([] { return error_of(::socket(AF_NETLINK, SOCK_RAW, 0)); }), EPERM);
  EXPECT_EQ(confined([] { return error_of(::setns(0, CLONE_NEWNS)); }), EPERM);
  EXPECT_EQ(confined([] { return error_of(::kill(::getpid(), 0)); }), EPERM);
  EXPECT_EQ(confined([] { return error_of(::unlink("/nonexistent/weft")); }), EPERM);
  EXPECT_EQ(confined([] {
              void* memory = ::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
              return memory == MAP_FAILED ? errno : 0;
            }),
            EPERM);
  // A process of its own.
  EXPECT_EQ(confined([] { return error_of(::fork()); }), EPERM);
}

TEST(SystemCallFilterTest, WhatOnlyAnIntruderDoesKills) {
  EXPECT_EQ(confined([] {
              char* const argv[] = {nullptr};
              ::execve("/bin/true", argv, argv);
              return 0;
            }),
            1000 + SIGSYS);
  EXPECT_EQ(confined([] { return ::unshare(CLONE_NEWUSER); }), 1000 + SIGSYS);
  EXPECT_EQ(confined([] { return ::setuid(0); }), 1000 + SIGSYS);
}

}  // namespace
}  // namespace weft::proxy
