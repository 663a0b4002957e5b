// See link_switch.h.
#include "bpf/user/link_switch.h"

#include <bpf/bpf.h>

#include <cerrno>

#include "base/status_macros.h"

namespace weft::bpf {

bpf_link_info link_info(int link_fd) {
  bpf_link_info info{};
  uint32_t length = sizeof(info);
  if (link_fd < 0 || bpf_obj_get_info_by_fd(link_fd, &info, &length) != 0) return {};
  return info;
}

absl::Status LinkSwitch::replace(const std::string& name, int link_fd, int program_fd) {
  // Held by its descriptor: the link alone kept it alive.
  UniqueFd former(bpf_prog_get_fd_by_id(link_info(link_fd).prog_id));
  if (!former.valid()) return errno_status(str_cat("open the program of link ", name), errno);
  if (bpf_link_update(link_fd, program_fd, nullptr) != 0) {
    if (errno == ENOLINK) return absl::NotFoundError(str_cat("what link ", name, " was attached to is gone"));
    return errno_status(str_cat("replace the program of link ", name), errno);
  }
  replaced_.push_back({.name = name, .link_fd = link_fd, .former = std::move(former)});
  return absl::OkStatus();
}

absl::StatusOr<UniqueFd> LinkSwitch::attach(const std::string& name, int program_fd, int target_fd,
                                            bpf_attach_type type) {
  RETURN_IF_ERROR(pins_.prepare_staging());
  UniqueFd link(bpf_link_create(program_fd, target_fd, type, nullptr));
  if (!link.valid()) return errno_status(str_cat("attach ", name), errno);
  const std::string path = pins_.staged_link(name);
  // Unpinned, the link goes with its descriptor.
  if (bpf_obj_pin(link.get(), path.c_str()) != 0) return errno_status(str_cat("pin ", path), errno);
  attached_.push_back(path);
  return link;
}

void LinkSwitch::keep() {
  replaced_.clear();
  attached_.clear();
}

absl::Status LinkSwitch::undo() {
  absl::Status first;
  for (const std::string& path : attached_) Pins::remove_link(path);
  for (auto it = replaced_.rbegin(); it != replaced_.rend(); ++it) {
    // ENOLINK: it died meanwhile, and no program runs there.
    if (bpf_link_update(it->link_fd, it->former.get(), nullptr) == 0 || errno == ENOLINK) continue;
    if (first.ok())
      first = errno_status(str_cat("put the former program back behind link ", it->name), errno);
  }
  keep();
  return first;
}

}  // namespace weft::bpf
