// Loading, attaching and adopting. Failures name the program or map and the next command; nothing is half
// pinned: a map is pinned after all programs passed the verifier, a link after it was attached.
#include "bpf/user/programs.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>

#include "base/fd.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "bpf/mesh.skel.h"
#include "bpf/user/features.h"

namespace weft::bpf {
namespace {

// libbpf speaks through our log: its warnings are our warnings, the verifier's log goes with them.
int print_to_log(libbpf_print_level level, const char* format, va_list arguments) noexcept {
  if (level == LIBBPF_DEBUG) return 0;
  char* text = nullptr;
  const int length = vasprintf(&text, format, arguments);
  if (length < 0) return 0;
  std::string_view line(text, static_cast<size_t>(length));
  while (!line.empty() && line.back() == '\n') line.remove_suffix(1);
  log::write(level == LIBBPF_WARN ? log::Level::kWarn : log::Level::kDebug, "libbpf", {{"message", line}});
  std::free(text);
  return length;
}

absl::StatusOr<SkeletonPtr> open_skeleton() {
  libbpf_set_print(print_to_log);
  SkeletonPtr skeleton(mesh__open());
  if (skeleton == nullptr) return errno_status("open the BPF object", errno);
  return skeleton;
}

absl::StatusOr<LinkPtr> open_link(const std::string& path) {
  LinkPtr link(bpf_link__open(path.c_str()));
  if (link == nullptr) return errno_status(str_cat("open pinned link ", path), errno);
  return link;
}

bpf_link_info link_info(const LinkPtr& link) {
  bpf_link_info info{};
  uint32_t length = sizeof(info);
  if (link == nullptr || bpf_obj_get_info_by_fd(bpf_link__fd(link.get()), &info, &length) != 0) return {};
  return info;
}

absl::Status check_shape(const bpf_map* map, int pinned, const std::string& path) {
  bpf_map_info info{};
  uint32_t length = sizeof(info);
  if (bpf_obj_get_info_by_fd(pinned, &info, &length) != 0) return errno_status(str_cat("read ", path), errno);
  if (info.type == static_cast<uint32_t>(bpf_map__type(map)) && info.key_size == bpf_map__key_size(map) &&
      info.value_size == bpf_map__value_size(map)) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(
      str_cat("pinned map ", path, " has another shape (type ", info.type, ", key ", info.key_size,
              ", value ", info.value_size,
              " bytes): another version of Weft made it; run `weft-agent cleanup`, then start again"));
}

// Connect hooks can name the errno since Linux 5.18; before, a refused connect says EPERM.
bool probe_refusal() {
  return probe_program("", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT, BPF_FUNC_set_retval)
      .available;
}

bool exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

}  // namespace

void SkeletonDeleter::operator()(::mesh* skeleton) const { mesh__destroy(skeleton); }
void LinkDeleter::operator()(::bpf_link* link) const { bpf_link__destroy(link); }

Programs::Programs(const Pins& pins, SkeletonPtr skeleton, Knobs knobs)
    : pins_(pins), skeleton_(std::move(skeleton)), knobs_(knobs) {}

absl::StatusOr<std::unique_ptr<Programs>> Programs::load(const Pins& pins, const Knobs& knobs) {
  RETURN_IF_ERROR(pins.prepare());
  ASSIGN_OR_RETURN(SkeletonPtr skeleton, open_skeleton());
  auto programs = std::unique_ptr<Programs>(new Programs(pins, std::move(skeleton), knobs));
  ::mesh& mesh = *programs->skeleton_;
  mesh.rodata->cfg_report_ns = knobs.report_ns;
  mesh.rodata->cfg_refuse_errno = probe_refusal() ? 1 : 0;
  bpf_program__set_autoload(mesh.progs.mesh_lookup, false);  // one load per namespace, see attach_lookup
  RETURN_IF_ERROR(programs->reuse_pinned_maps());
  if (const int error = mesh__load(&mesh); error != 0) {
    return annotate("load the BPF programs (run `weft check --pre` to see which feature is missing)",
                    errno_status("bpf", -error));
  }
  RETURN_IF_ERROR(programs->pin_new_maps());
  return programs;
}

absl::Status Programs::reuse_pinned_maps() {
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, skeleton_->obj) {
    const std::string path = pins_.map(bpf_map__name(map));
    if (bpf_map__is_internal(map) || !exists(path)) continue;
    const UniqueFd pinned(bpf_obj_get(path.c_str()));
    if (!pinned.valid()) return errno_status(str_cat("open pinned map ", path), errno);
    RETURN_IF_ERROR(check_shape(map, pinned.get(), path));
    if (const int error = bpf_map__reuse_fd(map, pinned.get()); error != 0) {
      return errno_status(str_cat("reuse pinned map ", path), -error);
    }
  }
  return absl::OkStatus();
}

absl::Status Programs::pin_new_maps() {
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, skeleton_->obj) {
    const std::string path = pins_.map(bpf_map__name(map));
    if (bpf_map__is_internal(map) || exists(path)) continue;
    if (const int error = bpf_map__pin(map, path.c_str()); error != 0) {
      return errno_status(str_cat("pin map ", path), -error);
    }
  }
  return absl::OkStatus();
}

absl::Status Programs::attach_cgroup(const std::string& cgroup_path) {
  const UniqueFd cgroup(::open(cgroup_path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat info{};
  if (!cgroup.valid() || fstat(cgroup.get(), &info) != 0) {
    return annotate("pass a cgroup2 directory with --cgroup",
                    errno_status(str_cat("open ", cgroup_path), errno));
  }
  // The inode of a cgroup2 directory is its cgroup id. sockops first: the first captured socket is measured
  // too.
  // The connect hooks last: what they send elsewhere needs the others.
  const auto& progs = skeleton_->progs;
  for (bpf_program* program : {progs.mesh_sockops, progs.mesh_recvmsg4, progs.mesh_recvmsg6,
                               progs.mesh_getpeername4, progs.mesh_getpeername6, progs.mesh_sendmsg4,
                               progs.mesh_sendmsg6, progs.mesh_connect4, progs.mesh_connect6}) {
    RETURN_IF_ERROR(attach_one(program, cgroup.get(), info.st_ino));
  }
  return absl::OkStatus();
}

absl::Status Programs::attach_one(::bpf_program* program, int cgroup_fd, uint64_t cgroup_id) {
  const std::string name = bpf_program__name(program);
  const std::string path = pins_.link(name);
  if (exists(path)) {
    ASSIGN_OR_RETURN(LinkPtr link, open_link(path));
    if (link_info(link).cgroup.cgroup_id == cgroup_id) {
      if (const int error = bpf_link__update_program(link.get(), program); error != 0) {
        return errno_status(str_cat("replace the program of ", path), -error);
      }
      cgroup_links_[name] = std::move(link);
      return absl::OkStatus();
    }
    // Pinned for another cgroup, or for one that is gone.
    Pins::remove_link(path);
  }
  LinkPtr link(bpf_program__attach_cgroup(program, cgroup_fd));
  if (link == nullptr) return errno_status(str_cat("attach ", name, " to the cgroup"), errno);
  if (const int error = bpf_link__pin(link.get(), path.c_str()); error != 0) {
    return errno_status(str_cat("pin ", path), -error);
  }
  cgroup_links_[name] = std::move(link);
  return absl::OkStatus();
}

absl::StatusOr<SkeletonPtr> Programs::load_lookup(uint32_t slot) const {
  ASSIGN_OR_RETURN(SkeletonPtr lookup, open_skeleton());
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, lookup->obj) bpf_program__set_autoload(program, false);
  bpf_program__set_autoload(lookup->progs.mesh_lookup, true);
  lookup->rodata->cfg_slot = slot;
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, lookup->obj) {
    if (bpf_map__is_internal(map)) continue;
    if (const int error = bpf_map__reuse_fd(map, map_fd(bpf_map__name(map))); error != 0) {
      return errno_status(str_cat("share map ", bpf_map__name(map)), -error);
    }
  }
  if (const int error = mesh__load(lookup.get()); error != 0) return errno_status("load mesh_lookup", -error);
  return lookup;
}

absl::Status Programs::attach_lookup(uint64_t netns_cookie, uint32_t slot, int netns_fd) {
  ASSIGN_OR_RETURN(SkeletonPtr lookup, load_lookup(slot));
  const std::string path = pins_.lookup_link(netns_cookie);
  if (exists(path)) {
    ASSIGN_OR_RETURN(LinkPtr link, open_link(path));
    const int error = bpf_link__update_program(link.get(), lookup->progs.mesh_lookup);
    if (error == 0) {
      lookup_links_[netns_cookie] = std::move(link);
      return absl::OkStatus();
    }
    // ENOLINK: the namespace died. Without a namespace to attach to there is nothing to replace it by.
    if (netns_fd < 0) return errno_status(str_cat("replace the program of ", path), -error);
    Pins::remove_link(path);
  }
  if (netns_fd < 0) return absl::NotFoundError(str_cat("no pinned link ", path));
  LinkPtr link(bpf_program__attach_netns(lookup->progs.mesh_lookup, netns_fd));
  if (link == nullptr) return errno_status("attach mesh_lookup to the namespace", errno);
  if (const int error = bpf_link__pin(link.get(), path.c_str()); error != 0) {
    return errno_status(str_cat("pin ", path), -error);
  }
  lookup_links_[netns_cookie] = std::move(link);
  return absl::OkStatus();
}

bool Programs::lookup_attached(uint64_t netns_cookie) const {
  const auto link = lookup_links_.find(netns_cookie);
  return link != lookup_links_.end() && link_info(link->second).netns.netns_ino != 0;
}

void Programs::detach_lookup(uint64_t netns_cookie) {
  Pins::remove_link(pins_.lookup_link(netns_cookie));
  lookup_links_.erase(netns_cookie);
}

int Programs::map_fd(const char* name) const { return bpf_object__find_map_fd_by_name(skeleton_->obj, name); }

std::vector<Attachment> Programs::attachments() const {
  std::vector<Attachment> out;
  for (const auto& [name, link] : cgroup_links_) {
    const std::string hook =
        name == "mesh_sockops" ? "sockops" : "cgroup/" + name.substr(std::string_view("mesh_").size());
    out.push_back({.program = name, .hook = hook, .attached = link_info(link).cgroup.cgroup_id != 0});
  }
  for (const auto& [cookie, link] : lookup_links_) {
    out.push_back({.program = "mesh_lookup",
                   .hook = "sk_lookup",
                   .netns_cookie = cookie,
                   .attached = link_info(link).netns.netns_ino != 0});
  }
  return out;
}

}  // namespace weft::bpf
