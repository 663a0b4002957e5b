// See sandbox.h. proc(5), cgroups(7). Called by the sandbox watch on its thread.
#include "agent/pods/sandbox.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string_view>

#include "base/status_macros.h"
#include "base/strings.h"

namespace weft::agent {
namespace {

namespace fs = std::filesystem;

// What a pod may make us read: it can make cgroups below its own, and processes without end.
constexpr size_t kMostGroups = 256;
constexpr size_t kMostProcesses = 4096;
constexpr int kDeepestGroup = 6;

// Of one file of /proc or of a cgroup; both have no size to ask for.
std::string read_all(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// The pod's processes, in any order.
std::vector<uint32_t> processes_of(const std::string& pod_cgroup) {
  std::vector<uint32_t> pids;
  const auto read = [&pids](const std::string& folder) {
    std::ifstream file(folder + "/cgroup.procs");
    uint32_t pid = 0;
    while (pids.size() < kMostProcesses && file >> pid) pids.push_back(pid);
  };
  read(pod_cgroup);
  size_t groups = 0;
  std::error_code error;
  fs::recursive_directory_iterator at(pod_cgroup, error);
  for (const fs::recursive_directory_iterator end; !error && at != end; at.increment(error)) {
    std::error_code gone;
    if (!at->is_directory(gone)) continue;
    if (at.depth() >= kDeepestGroup) at.disable_recursion_pending();
    if (++groups > kMostGroups) break;
    read(at->path());
  }
  return pids;
}

// Field 22 of stat(5), clock ticks since boot. The name in field 2 may hold anything, a ")" too.
std::optional<MonotonicNs> started_of(const std::string& stat) {
  const size_t name_end = stat.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream rest(stat.substr(name_end + 1));
  std::string field;
  for (int number = 3; number < 22; ++number) rest >> field;
  uint64_t ticks = 0;
  if (!(rest >> ticks)) return std::nullopt;
  const long per_second = ::sysconf(_SC_CLK_TCK);
  return ticks * (kNsPerSecond / static_cast<uint64_t>(per_second > 0 ? per_second : 100));
}

// "0::/kubepods/pod1234/abc": whether the pod's cgroup is on the way. The path is told from the reader's own
// root, so that only its parts count.
bool is_member(const std::string& cgroup_file, std::string_view pod_name) {
  std::istringstream lines(cgroup_file);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("0::")) continue;
    return str_cat(line, "/").find(str_cat("/", pod_name, "/")) != std::string::npos;
  }
  return false;
}

struct Candidate {
  uint32_t pid = 0;
  NetnsIdentity identity;
  MonotonicNs started = 0;
};

// nullopt: the process has ended, or its number is another's by now.
absl::StatusOr<std::optional<Candidate>> look_at(uint32_t pid, std::string_view pod_name,
                                                 const SandboxPlaces& places) {
  const std::string process = str_cat(places.proc, "/", pid);
  const absl::StatusOr<NetnsIdentity> identity = places.probe(process + "/ns/net");
  if (absl::IsPermissionDenied(identity.status())) {
    return absl::PermissionDeniedError(
        str_cat(identity.status().message(), "; next: give weft-agent the capability SYS_PTRACE"));
  }
  if (!identity.ok()) return std::optional<Candidate>();
  const std::optional<MonotonicNs> started = started_of(read_all(process + "/stat"));
  // Last, so that what was read before is of this process.
  if (!started || !is_member(read_all(process + "/cgroup"), pod_name)) return std::optional<Candidate>();
  return std::optional<Candidate>(Candidate{pid, *identity, *started});
}

std::string lasting_path(const NetnsIdentity& identity, const SandboxPlaces& places) {
  for (const std::string& folder : places.netns_folders) {
    std::error_code error;
    for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
      const absl::StatusOr<NetnsIdentity> there = places.probe(at->path());
      if (there.ok() && *there == identity) return at->path();
    }
  }
  return "";
}

}  // namespace

absl::StatusOr<Sandbox> find_sandbox(const std::string& pod_cgroup, const SandboxPlaces& places) {
  ASSIGN_OR_RETURN(const NetnsIdentity own, places.probe(places.proc + "/self/ns/net"));
  // With the node's PID namespace this is the node's, whatever namespace the agent is in.
  const absl::StatusOr<NetnsIdentity> first = places.probe(places.proc + "/1/ns/net");
  const std::string pod_name = fs::path(pod_cgroup).filename();
  std::optional<Candidate> oldest;
  bool hidden = false, in_node = false;
  absl::Status refused;
  for (const uint32_t pid : processes_of(pod_cgroup)) {
    hidden = hidden || pid == 0;
    if (pid == 0) continue;
    absl::StatusOr<std::optional<Candidate>> found = look_at(pid, pod_name, places);
    if (!found.ok()) refused = found.status();
    if (!found.ok() || !found->has_value()) continue;
    const Candidate& candidate = **found;
    if (candidate.identity == own || (first.ok() && candidate.identity == *first)) {
      in_node = true;
      continue;
    }
    if (oldest && std::pair(oldest->started, oldest->pid) < std::pair(candidate.started, candidate.pid))
      continue;
    oldest = candidate;
  }
  if (oldest) {
    std::string path = lasting_path(oldest->identity, places);
    if (path.empty()) path = str_cat(places.proc, "/", oldest->pid, "/ns/net");
    return Sandbox{std::move(path), oldest->identity, oldest->started};
  }
  if (!refused.ok()) return refused;
  if (hidden) {
    return absl::PermissionDeniedError(str_cat(
        "processes of ", pod_cgroup, " are not in the agent's PID namespace; next: hostPID: true for it"));
  }
  if (in_node) return absl::UnavailableError("its processes are in the node's network namespace so far");
  return absl::NotFoundError("no process of it runs");
}

}  // namespace weft::agent
