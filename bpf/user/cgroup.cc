// Finds the cgroup2 mount in mountinfo. Called once when the dataplane opens; never mounts anything.
#include "bpf/user/cgroup.h"

#include <fstream>
#include <sstream>
#include <vector>

#include "absl/status/status.h"

namespace weft::bpf {
namespace {

// "\040" for a space: the kernel escapes space, tab, newline and backslash.
std::string unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      out.push_back(
          static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0')));
      i += 3;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

}  // namespace

std::optional<std::string> parse_cgroup2_mount(std::string_view mountinfo) {
  std::istringstream lines{std::string(mountinfo)};
  std::optional<std::string> subtree;
  for (std::string line; std::getline(lines, line);) {
    // 36 35 98:0 /root /mount/point options [optional fields] - fstype source options
    std::istringstream words(line);
    std::vector<std::string> word;
    for (std::string w; words >> w;) word.push_back(w);
    size_t dash = 6;
    while (dash < word.size() && word[dash] != "-") ++dash;
    if (dash + 1 >= word.size() || word[dash + 1] != "cgroup2") continue;
    if (word[3] == "/") return unescape(word[4]);
    if (!subtree) subtree = unescape(word[4]);
  }
  return subtree;
}

absl::StatusOr<std::string> find_cgroup2_root() {
  std::ifstream file("/proc/self/mountinfo");
  std::stringstream text;
  text << file.rdbuf();
  if (std::optional<std::string> mount = parse_cgroup2_mount(text.str())) return *std::move(mount);
  return absl::FailedPreconditionError(
      "no cgroup2 file system is mounted: run `mount -t cgroup2 none /sys/fs/cgroup/unified` or pass "
      "--cgroup");
}

}  // namespace weft::bpf
