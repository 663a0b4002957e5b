// See process.h. Between fork and exec only async-signal-safe calls are made: the test may have threads.
#include "tests/harness/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <fstream>

#include "base/status_macros.h"

namespace weft::harness {
namespace {

struct Prepared {
  std::vector<char*> argv;
  std::vector<char*> environment;
  UniqueFd netns, cgroup, input;
};

[[noreturn]] void child_failed(const char* step) {
  const int error = errno;
  ::dprintf(STDERR_FILENO, "cannot start child: %s: errno %d\n", step, error);
  ::_exit(127);
}

[[noreturn]] void run_child(const Prepared& prepared, int output, int errors, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);
  ::dup2(prepared.input.get(), STDIN_FILENO);
  ::dup2(output, STDOUT_FILENO);
  ::dup2(errors, STDERR_FILENO);
  if (prepared.cgroup.valid() && ::write(prepared.cgroup.get(), "0", 1) != 1) child_failed("join cgroup");
  if (prepared.netns.valid() && ::setns(prepared.netns.get(), CLONE_NEWNET) != 0)
    child_failed("enter namespace");
  ::setpgid(0, 0);
  ::execvpe(prepared.argv[0], prepared.argv.data(), prepared.environment.data());
  child_failed(prepared.argv[0]);
}

absl::StatusOr<UniqueFd> open_file(const std::string& path, int flags) {
  UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC));
  if (!fd.valid()) return errno_status(str_cat("open ", path), errno);
  return fd;
}

absl::StatusOr<Prepared> prepare(const Spawn& spawn) {
  Prepared prepared;
  for (const std::string& argument : spawn.argv) prepared.argv.push_back(const_cast<char*>(argument.c_str()));
  prepared.argv.push_back(nullptr);
  for (const std::string& entry : spawn.environment)
    prepared.environment.push_back(const_cast<char*>(entry.c_str()));
  for (char** entry = environ; *entry != nullptr; ++entry) prepared.environment.push_back(*entry);
  prepared.environment.push_back(nullptr);
  if (!spawn.netns.empty()) {
    ASSIGN_OR_RETURN(prepared.netns, open_file(spawn.netns, O_RDONLY));
  }
  if (!spawn.cgroup.empty()) {
    ASSIGN_OR_RETURN(prepared.cgroup, open_file(str_cat(spawn.cgroup, "/cgroup.procs"), O_WRONLY));
  }
  ASSIGN_OR_RETURN(prepared.input, open_file(spawn.input.empty() ? "/dev/null" : spawn.input, O_RDONLY));
  return prepared;
}

std::string read_all(int fd) {
  std::string out;
  if (fd < 0) return out;
  std::array<char, 65536> buffer;
  for (off_t at = 0;;) {
    const ssize_t n = ::pread(fd, buffer.data(), buffer.size(), at);
    if (n <= 0) return out;
    out.append(buffer.data(), static_cast<size_t>(n));
    at += n;
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Process>> Process::start(const Spawn& spawn) {
  ASSIGN_OR_RETURN(const Prepared prepared, prepare(spawn));
  std::unique_ptr<Process> process(new Process);
  // Files in memory, not pipes: nobody needs to read for the child to go on. O_APPEND: children of the child
  // share it.
  process->output_.reset(::memfd_create("output", MFD_CLOEXEC));
  if (spawn.separate_errors) process->errors_.reset(::memfd_create("errors", MFD_CLOEXEC));
  for (const UniqueFd* fd : {&process->output_, &process->errors_}) {
    if (fd->valid()) ::fcntl(fd->get(), F_SETFL, O_APPEND);
  }
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return errno_status("fork", errno);
  const int errors = spawn.separate_errors ? process->errors_.get() : process->output_.get();
  if (pid == 0) run_child(prepared, process->output_.get(), errors, parent);
  process->pid_ = pid;
  process->pidfd_.reset(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!process->pidfd_.valid()) return errno_status("pidfd_open", errno);
  return process;
}

Process::~Process() {
  if (pid_ > 0 && !exit_code_) {
    signal(SIGKILL);
    wait(milliseconds(10'000));
  }
}

std::optional<int> Process::wait(milliseconds deadline) {
  if (exit_code_) return exit_code_;
  pollfd ready{.fd = pidfd_.get(), .events = POLLIN, .revents = 0};
  const auto end = std::chrono::steady_clock::now() + deadline;
  for (;;) {
    const auto left =
        std::chrono::duration_cast<milliseconds>(end - std::chrono::steady_clock::now()).count();
    const int n = ::poll(&ready, 1, left > 0 ? static_cast<int>(left) : 0);
    if (n > 0) break;
    if (n == 0 || errno != EINTR) return std::nullopt;
  }
  int status = 0;
  if (::waitpid(pid_, &status, 0) != pid_) return std::nullopt;
  exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return exit_code_;
}

void Process::signal(int number) const {
  // The pidfd cannot hit a stranger that got the number after the child was reaped.
  ::syscall(SYS_pidfd_send_signal, pidfd_.get(), number, nullptr, 0);
}

int Process::stop(milliseconds deadline) {
  if (!exit_code_) signal(SIGTERM);
  if (!wait(deadline)) signal(SIGKILL);
  return wait(milliseconds(10'000)).value_or(-1);
}

std::string Process::output() const { return read_all(output_.get()); }
std::string Process::errors() const { return read_all(errors_.get()); }

uint64_t Process::resident_bytes() const {
  std::ifstream statm(str_cat("/proc/", pid_, "/statm"));
  uint64_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

CommandResult run(Spawn spawn, milliseconds deadline) {
  spawn.separate_errors = true;
  CommandResult result;
  auto process = Process::start(spawn);
  if (!process.ok()) {
    result.errors = std::string(process.status().message());
    return result;
  }
  const std::optional<int> code = (*process)->wait(deadline);
  result.exit_code = code.value_or(-1);
  result.output = (*process)->output();
  result.errors = (*process)->errors();
  if (!code) result.errors += "\n(killed by the test: still running at the deadline)";
  return result;
}

}  // namespace weft::harness
