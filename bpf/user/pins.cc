// The pin directories on bpffs. Called by Programs and cleanup; never makes a pin, only moves and removes
// them.
#include "bpf/user/pins.h"

#include <bpf/bpf.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "base/fd.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace weft::bpf {
namespace {

constexpr std::string_view kMountPoint = "/sys/fs/bpf";
constexpr std::string_view kLookupPrefix = "lookup_";
constexpr std::string_view kMaps = "/maps";
constexpr std::string_view kLinks = "/links";

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

// Sockets of open connections, which would lose what waits unread in them.
bool holds_shortcuts(const std::string& path) {
  if (!path.ends_with("/m_shortcut_sock")) return false;
  const UniqueFd map(bpf_obj_get(path.c_str()));
  uint64_t key = 0;
  // 0 is a running agent's own (shortcut_plug.h).
  bool more = map.valid() && bpf_map_get_next_key(map.get(), nullptr, &key) == 0;
  if (more && key == 0) more = bpf_map_get_next_key(map.get(), &key, &key) == 0;
  return more;
}

// Pins of one directory, and the directory. `spare`: what open connections use stays.
void remove_pins(const std::string& directory, bool links, bool spare, std::vector<std::string>* removed) {
  for (const std::string& name : entries(directory)) {
    const std::string path = str_cat(directory, "/", name);
    if (spare && holds_shortcuts(path)) {
      removed->push_back(str_cat(
          "left pin ", path, ", which open connections use; next: weft-agent cleanup, when they have ended"));
      continue;
    }
    const bool gone = links ? Pins::remove_link(path) : unlink(path.c_str()) == 0;
    if (gone) removed->push_back(str_cat("removed pin ", path));
  }
  if (rmdir(directory.c_str()) == 0) removed->push_back(str_cat("removed directory ", directory));
}

void remove_directory(const std::string& path, std::vector<std::string>* removed) {
  if (rmdir(path.c_str()) == 0) removed->push_back(str_cat("removed directory ", path));
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
std::string Pins::lookup_name(uint64_t netns_cookie) { return str_cat(kLookupPrefix, netns_cookie); }
std::string Pins::lookup_link(uint64_t netns_cookie) const { return link(lookup_name(netns_cookie)); }

std::string Pins::staged_map(std::string_view name) const { return str_cat(next(), kMaps, "/", name); }
std::string Pins::staged_link(std::string_view program) const {
  return str_cat(next(), kLinks, "/", program);
}

std::vector<std::string> Pins::pinned_links() const { return entries(links()); }
std::vector<std::string> Pins::pinned_maps() const { return entries(maps()); }

bool Pins::holds_shortcuts() const { return weft::bpf::holds_shortcuts(map("m_shortcut_sock")); }

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
  RETURN_IF_ERROR(make_directory(links()));
  move_ready();
  drop_staging();
  return absl::OkStatus();
}

absl::Status Pins::prepare_staging() const {
  RETURN_IF_ERROR(make_directory(next()));
  RETURN_IF_ERROR(make_directory(str_cat(next(), kMaps)));
  return make_directory(str_cat(next(), kLinks));
}

absl::Status Pins::publish() const {
  if (access(next().c_str(), F_OK) != 0) return absl::OkStatus();
  if (std::rename(next().c_str(), ready().c_str()) != 0)
    return errno_status(str_cat("rename ", next()), errno);
  move_ready();
  return absl::OkStatus();
}

void Pins::move_ready() const {
  const auto move = [](const std::string& from, const std::string& to) {
    if (std::rename(from.c_str(), to.c_str()) != 0)
      log::warn("pin_not_moved", {{"from", from}, {"to", to}, {"error", std::strerror(errno)}});
  };
  const std::string staged_maps = str_cat(ready(), kMaps);
  const std::string staged_links = str_cat(ready(), kLinks);
  for (const std::string& name : entries(staged_maps)) move(str_cat(staged_maps, "/", name), map(name));
  for (const std::string& name : entries(staged_links)) {
    remove_link(link(name));  // attached to something else
    move(str_cat(staged_links, "/", name), link(name));
  }
  for (const std::string& directory : {staged_maps, staged_links, ready()}) rmdir(directory.c_str());
}

void Pins::drop_staging() const {
  std::vector<std::string> removed;
  remove_pins(str_cat(next(), kLinks), true, false, &removed);
  remove_pins(str_cat(next(), kMaps), false, false, &removed);
  rmdir(next().c_str());
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
  for (const std::string& root : {root_, next(), ready()})
    remove_pins(str_cat(root, kLinks), true, false, &removed);
  for (const std::string& root : {root_, next(), ready()})
    remove_pins(str_cat(root, kMaps), false, root == root_, &removed);
  for (const std::string& root : {next(), ready(), root_}) remove_directory(root, &removed);
  return removed;
}

}  // namespace weft::bpf
