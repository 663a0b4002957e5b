// See system_call_filter.h. The list is what the proxy, gRPC, OpenSSL and the C library need after the start,
// on both backends of the loop; tests/integration runs under it.
#include "userspace-proxy/system_call_filter.h"

#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <memory>
#include <string_view>

#include "base/log.h"
#include "base/status_macros.h"

namespace weft::proxy {
namespace {

struct Release {
  void operator()(void* filter) const { seccomp_release(filter); }
};
using Filter = std::unique_ptr<void, Release>;

// With any arguments. Names that an architecture does not have are left out.
constexpr const char* kAllowed[] = {
    // Descriptors.
    "read", "write", "readv", "writev", "pread64", "pwrite64", "lseek", "close", "close_range", "dup", "dup2",
    "dup3", "fcntl", "pipe2", "poll", "ppoll", "select", "pselect6", "epoll_create1", "epoll_ctl",
    "epoll_wait", "epoll_pwait", "epoll_pwait2", "eventfd2", "timerfd_create", "timerfd_settime",
    "timerfd_gettime", "signalfd4", "io_uring_enter", "io_uring_register",
    // Sockets; which kinds: below.
    "accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "listen", "recvfrom",
    "recvmmsg", "recvmsg", "sendmmsg", "sendmsg", "sendto", "setsockopt", "shutdown", "socketpair",
    // Files: the access log, /proc and /sys of the limits, time zones.
    "open", "openat", "stat", "fstat", "lstat", "newfstatat", "statx", "fstatfs", "statfs", "access",
    "faccessat", "faccessat2", "readlink", "readlinkat", "getcwd", "getdents64", "fsync", "fdatasync",
    "ftruncate",
    // Memory; not what is to be executed: below.
    "brk", "madvise", "membarrier", "mremap", "munmap",
    // Threads and signals.
    "exit", "exit_group", "futex", "futex_waitv", "get_robust_list", "getpid", "gettid", "restart_syscall",
    "rseq", "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigreturn", "rt_sigsuspend",
    "rt_sigtimedwait", "sched_getaffinity", "sched_getparam", "sched_getscheduler", "sched_setaffinity",
    "sched_yield", "set_robust_list", "set_tid_address", "sigaltstack", "tgkill",
    // Time, and facts about the process and the machine.
    "clock_getres", "clock_gettime", "clock_nanosleep", "gettimeofday", "nanosleep", "time", "getcpu",
    "getegid", "geteuid", "getgid", "getrandom", "getrlimit", "getrusage", "getuid", "sysinfo", "times",
    "uname"};

// No part of what a proxy does.
constexpr const char* kDeadly[] = {"execve",
                                   "execveat",
                                   "fork",
                                   "vfork",
                                   "ptrace",
                                   "process_vm_readv",
                                   "process_vm_writev",
                                   "bpf",
                                   "perf_event_open",
                                   "userfaultfd",
                                   "mount",
                                   "umount2",
                                   "pivot_root",
                                   "chroot",
                                   "move_mount",
                                   "open_tree",
                                   "fsopen",
                                   "fsmount",
                                   "unshare",
                                   "init_module",
                                   "finit_module",
                                   "delete_module",
                                   "kexec_load",
                                   "kexec_file_load",
                                   "reboot",
                                   "swapon",
                                   "swapoff",
                                   "keyctl",
                                   "add_key",
                                   "request_key",
                                   "setuid",
                                   "setgid",
                                   "setreuid",
                                   "setregid",
                                   "setresuid",
                                   "setresgid",
                                   "setgroups",
                                   "capset",
                                   "open_by_handle_at",
                                   "name_to_handle_at",
                                   "acct",
                                   "quotactl",
                                   "iopl",
                                   "ioperm",
                                   "syslog",
                                   "setdomainname",
                                   "sethostname"};

absl::Status failed(std::string_view what, int error) {
  return errno_status(str_cat("system call filter: ", what), -error);
}

absl::Status allow(void* filter, const char* name, std::initializer_list<scmp_arg_cmp> conditions = {}) {
  const int number = seccomp_syscall_resolve_name(name);
  if (number == __NR_SCMP_ERROR || number < 0) return absl::OkStatus();
  const int error =
      seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, number, static_cast<unsigned>(conditions.size()),
                             conditions.size() == 0 ? nullptr : conditions.begin());
  return error == 0 ? absl::OkStatus() : failed(name, error);
}

absl::Status answer(void* filter, uint32_t action, const char* name) {
  const int number = seccomp_syscall_resolve_name(name);
  if (number == __NR_SCMP_ERROR || number < 0) return absl::OkStatus();
  const int error = seccomp_rule_add(filter, action, number, 0);
  return error == 0 ? absl::OkStatus() : failed(name, error);
}

// Of an argument, counted from 0.
scmp_arg_cmp equals(unsigned argument, uint64_t value) {
  return {.arg = argument, .op = SCMP_CMP_EQ, .datum_a = value, .datum_b = 0};
}

scmp_arg_cmp masked(unsigned argument, uint64_t mask, uint64_t value) {
  return {.arg = argument, .op = SCMP_CMP_MASKED_EQ, .datum_a = mask, .datum_b = value};
}

absl::Status add_conditional(void* filter) {
  // Threads, no processes; clone3: see quiet_about_clone3().
  RETURN_IF_ERROR(allow(filter, "clone3"));
  RETURN_IF_ERROR(allow(filter, "clone", {masked(0, CLONE_THREAD, CLONE_THREAD)}));
  // To dial from inside a pod, and back.
  RETURN_IF_ERROR(allow(filter, "setns", {equals(1, CLONE_NEWNET)}));
  for (const uint64_t family : {AF_UNIX, AF_INET, AF_INET6})
    RETURN_IF_ERROR(allow(filter, "socket", {equals(0, family)}));
  for (const char* call : {"mmap", "mprotect", "pkey_mprotect"})
    RETURN_IF_ERROR(allow(filter, call, {masked(2, PROT_EXEC, 0)}));
  for (const uint64_t option :
       {PR_SET_NAME, PR_GET_NAME, PR_GET_DUMPABLE, PR_GET_NO_NEW_PRIVS, PR_GET_SECCOMP})
    RETURN_IF_ERROR(allow(filter, "prctl", {equals(0, option)}));
  constexpr uint64_t kSetVma = 0x53564d41;  // PR_SET_VMA: names of anonymous memory
  RETURN_IF_ERROR(allow(filter, "prctl", {equals(0, kSetVma)}));
  for (const unsigned request :
       {0x541bu /* FIONREAD */, 0x5421u /* FIONBIO */, 0x5411u /* TIOCOUTQ */, 0x5401u /* TCGETS */})
    RETURN_IF_ERROR(allow(filter, "ioctl", {equals(1, request)}));
  // To read a limit, not to set one.
  return allow(filter, "prlimit64", {equals(2, 0)});
}

// For all threads.
absl::Status load(void* filter) {
  if (const int error = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1); error != 0)
    return failed("all threads", error);
  const int error = seccomp_load(filter);
  return error == 0 ? absl::OkStatus() : failed("load", error);
}

// Of clone3 nobody can see whether it makes a thread or a process, and the C library takes clone where there
// is none. It asks for each thread, which is nothing to log: so this is a filter of its own.
absl::Status quiet_about_clone3() {
  const Filter filter(seccomp_init(SCMP_ACT_ALLOW));
  if (filter == nullptr) return absl::InternalError("system call filter: cannot be made");
  RETURN_IF_ERROR(answer(filter.get(), SCMP_ACT_ERRNO(ENOSYS), "clone3"));
  return load(filter.get());
}

}  // namespace

absl::Status confine_system_calls() {
  RETURN_IF_ERROR(quiet_about_clone3());
  const Filter filter(seccomp_init(SCMP_ACT_ERRNO(EPERM)));
  if (filter == nullptr) return absl::InternalError("system call filter: cannot be made");
  // What is refused is logged where the kernel logs.
  if (const int error = seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_LOG, 1);
      error != 0 && error != -EOPNOTSUPP)
    return failed("log", error);
  // Else a list of a hundred calls is compared one by one.
  if (const int error = seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2); error != 0)
    return failed("order", error);
  for (const char* name : kDeadly) RETURN_IF_ERROR(answer(filter.get(), SCMP_ACT_KILL_PROCESS, name));
  for (const char* name : kAllowed) RETURN_IF_ERROR(allow(filter.get(), name));
  RETURN_IF_ERROR(add_conditional(filter.get()));
  return load(filter.get());
}

}  // namespace weft::proxy
