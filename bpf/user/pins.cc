// The pin directories on bpffs. Called by Programs and cleanup; never makes a pin, only removes them.
#include "bpf/user/pins.h"

#include <bpf/bpf.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "base/fd.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace weft::bpf {
namespace {

constexpr std::string_view kMountPoint = "/sys/fs/bpf";
constexpr std::string_view kLookupPrefix = "lookup_";

absl::Status make_directory(const std::string& path) {
  if (mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return absl::OkStatus();
  return errno_status(str_cat("make ", path), errno);
}

std::vector<std::string> entries(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

bool on_bpffs(std::string_view path) {
  std::filesystem::path existing{std::string(path)};
  std::error_code error;
  while (!std::filesystem::exists(existing, error) && existing.has_relative_path())
    existing = existing.parent_path();
  struct statfs info{};
  return statfs(existing.c_str(), &info) == 0 && info.f_type == BPF_FS_MAGIC;
}

std::string Pins::map(std::string_view name) const { return str_cat(maps(), "/", name); }
std::string Pins::link(std::string_view program) const { return str_cat(links(), "/", program); }
std::string Pins::lookup_link(uint64_t netns_cookie) const {
  return str_cat(links(), "/", kLookupPrefix, netns_cookie);
}

std::vector<uint64_t> Pins::lookup_cookies() const {
  std::vector<uint64_t> cookies;
  for (const std::string& name : entries(links())) {
    if (!name.starts_with(kLookupPrefix)) continue;
    const auto cookie = parse_integer<uint64_t>(std::string_view(name).substr(kLookupPrefix.size()));
    if (cookie) cookies.push_back(*cookie);
  }
  return cookies;
}

absl::Status Pins::prepare() const {
  if (!on_bpffs(root_) && root_.starts_with(str_cat(kMountPoint, "/"))) {
    if (mount("bpf", kMountPoint.data(), "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") != 0) {
      return annotate("pins live on a bpffs", errno_status("mount -t bpf bpf /sys/fs/bpf", errno));
    }
    log::info("bpffs_mounted", {{"path", kMountPoint}});
  }
  if (!on_bpffs(root_)) {
    return absl::FailedPreconditionError(str_cat(
        root_, " is not on a bpffs: mount one with `mount -t bpf bpf DIR` and pass --pin-root DIR/weft"));
  }
  RETURN_IF_ERROR(make_directory(root_));
  RETURN_IF_ERROR(make_directory(maps()));
  return make_directory(links());
}

bool Pins::remove_link(const std::string& path) {
  const UniqueFd link(bpf_obj_get(path.c_str()));
  if (link.valid()) bpf_link_detach(link.get());
  return unlink(path.c_str()) == 0;
}

std::vector<std::string> Pins::remove_all() const {
  std::vector<std::string> removed;
  if (!on_bpffs(root_)) return removed;
  // Links first, connect before the rest by name: capture stops before anything that captured sockets need is
  // gone.
  for (const std::string& directory : {links(), maps()}) {
    for (const std::string& name : entries(directory)) {
      const std::string path = str_cat(directory, "/", name);
      const bool gone = directory == links() ? remove_link(path) : unlink(path.c_str()) == 0;
      if (gone) removed.push_back(str_cat("removed pin ", path));
    }
    if (rmdir(directory.c_str()) == 0) removed.push_back(str_cat("removed directory ", directory));
  }
  if (rmdir(root_.c_str()) == 0) removed.push_back(str_cat("removed directory ", root_));
  return removed;
}

}  // namespace weft::bpf
