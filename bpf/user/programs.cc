// Loading, attaching and adopting. Failures name the program or map and the next command; nothing is half
// pinned: what a start adds is staged and comes into force at once, see pins.h.
#include "bpf/user/programs.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
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

constexpr std::array<const char*, 4> kShortcutMaps = {"m_shortcut", "m_shortcut_dial", "m_shortcut_sk",
                                                      "m_shortcut_sock"};
bool is_of_shortcut(std::string_view map) {
  return std::find(kShortcutMaps.begin(), kShortcutMaps.end(), map) != kShortcutMaps.end();
}

constexpr std::string_view kFormerInForce = "the previous version is still in force";

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

// Invalid when nothing is pinned there.
absl::StatusOr<UniqueFd> open_link(const std::string& path) {
  UniqueFd link(bpf_obj_get(path.c_str()));
  if (!link.valid() && errno != ENOENT) return errno_status(str_cat("open pinned link ", path), errno);
  return link;
}

// Connect hooks can name the errno since Linux 5.18; before, a refused connect says EPERM.
bool probe_refusal() {
  return probe_program("", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT, BPF_FUNC_set_retval)
      .available;
}

bool exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

// A link update returns while the former program may still be running on another CPU. This waits for an RCU
// grace period, as the kernel's own tests do. A kernel with nohz_full CPUs refuses it: then what a former
// program counts in its last microseconds may be missed.
void wait_for_running_programs() { syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0); }

}  // namespace

void SkeletonDeleter::operator()(::mesh* skeleton) const { mesh__destroy(skeleton); }

Programs::Programs(const Pins& pins, SkeletonPtr skeleton, Knobs knobs)
    : pins_(pins), skeleton_(std::move(skeleton)), knobs_(std::move(knobs)), switch_(pins) {}

Programs::~Programs() {
  if (committed_) return;
  const absl::Status status = take_back();
  if (!status.ok()) log::error("former_programs_not_restored", {{"error", status.message()}});
}

absl::StatusOr<std::unique_ptr<Programs>> Programs::load(const Pins& pins, const Knobs& knobs) {
  RETURN_IF_ERROR(pins.prepare());
  ASSIGN_OR_RETURN(SkeletonPtr skeleton, open_skeleton());
  auto programs = std::unique_ptr<Programs>(new Programs(pins, std::move(skeleton), knobs));
  programs->had_former_ = !pins.pinned_links().empty();
  const absl::Status status = programs->load_all();
  if (status.ok()) return programs;
  if (!programs->had_former_) return status;
  return absl::Status(status.code(), str_cat(status.message(), "; nothing was changed: ", kFormerInForce));
}

// What the trial cannot see, the verifier does: then everything is loaded once more without it.
absl::Status Programs::load_all() {
  shortcut_problem_ = knobs_.try_shortcut ? knobs_.try_shortcut() : "it is switched off";
  shortcut_ = shortcut_problem_.empty() ? Shortcut::kOn : shortcut_left();
  absl::Status status = prepare_and_load();
  while (!status.ok() && shortcut_ != Shortcut::kOut) {
    log::warn("shortcut_left_out", {{"error", status.message()}});
    if (shortcut_problem_.empty()) shortcut_problem_ = str_cat("it cannot be set up: ", status.message());
    shortcut_ = shortcut_ == Shortcut::kOn ? shortcut_left() : Shortcut::kOut;
    plug_.reset();
    ASSIGN_OR_RETURN(skeleton_, open_skeleton());
    status = prepare_and_load();
  }
  RETURN_IF_ERROR(status);
  return migration_.copy(knobs_.step);
}

// While the map is pinned, though nothing is in it: the former programs go on putting sockets there until
// they are replaced.
Programs::Shortcut Programs::shortcut_left() const {
  return exists(pins_.map("m_shortcut_sock")) ? Shortcut::kDraining : Shortcut::kOut;
}

// Open connections keep the mesh_shortcut that they came with.
void Programs::configure_shortcut() {
  ::mesh& mesh = *skeleton_;
  mesh.rodata->cfg_shortcut = shortcut_ != Shortcut::kOut ? 1 : 0;
  mesh.rodata->cfg_shortcut_join = shortcut_ == Shortcut::kOn ? 1 : 0;
  if (shortcut_ != Shortcut::kOn) bpf_program__set_autoload(mesh.progs.mesh_shortcut, false);
  if (shortcut_ != Shortcut::kOut) return;
  for (const char* name : kShortcutMaps)
    bpf_map__set_autocreate(bpf_object__find_map_by_name(mesh.obj, name), false);
}

// Before anything is in force, so that without it there are no new connections.
absl::Status Programs::put_plug() {
  if (shortcut_ == Shortcut::kOut) return absl::OkStatus();
  absl::Status status = gate("plug", "m_shortcut_sock");
  if (status.ok()) {
    absl::StatusOr<ShortcutPlug> plug = ShortcutPlug::put(bpf_map__fd(skeleton_->maps.m_shortcut_sock));
    if (plug.ok())
      plug_ = *std::move(plug);
    else
      status = plug.status();
  }
  if (status.ok() || shortcut_ == Shortcut::kOn) return status;
  // As without an agent.
  log::warn("shortcut_cannot_put_off", {{"error", status.message()}});
  return absl::OkStatus();
}

absl::Status Programs::prepare_and_load() {
  ::mesh& mesh = *skeleton_;
  configure_shortcut();
  mesh.rodata->cfg_report_ns = knobs_.report_ns;
  mesh.rodata->cfg_refuse_errno = probe_refusal() ? 1 : 0;
  bpf_program__set_autoload(mesh.progs.mesh_lookup, false);  // one load per namespace, see load_lookup
  if (knobs_.reshape) knobs_.reshape(mesh.obj);
  ASSIGN_OR_RETURN(migration_, Migration::plan(pins_, mesh.obj, knobs_.converters));
  if (const int error = mesh__load(&mesh); error != 0) {
    return annotate("load the BPF programs (run `weft check --pre` to see which feature is missing)",
                    errno_status("bpf", -error));
  }
  return put_plug();
}

// Sockets keep the program that was attached when they came: this is for those that come.
absl::Status Programs::attach_shortcut() {
  if (pins_.holds_shortcuts() && (migration_.replaces("m_shortcut") || migration_.replaces("m_shortcut_sk")))
    log::warn(
        "shortcuts_not_carried_over",
        {{"meaning", "open connections with the shortcut that turn to TCP may answer FIONREAD with 0"}});
  if (shortcut_ != Shortcut::kOn) return absl::OkStatus();
  if (bpf_prog_attach(bpf_program__fd(skeleton_->progs.mesh_shortcut),
                      bpf_map__fd(skeleton_->maps.m_shortcut_sock), BPF_SK_MSG_VERDICT, 0) != 0)
    return errno_status("attach mesh_shortcut", errno);
  return absl::OkStatus();
}

absl::Status Programs::gate(std::string_view verb, const std::string& name) const {
  return knobs_.step ? knobs_.step(str_cat(verb, " ", name)) : absl::OkStatus();
}

absl::StatusOr<std::vector<uint64_t>> Programs::adopt_lookups(const std::vector<LookupTarget>& targets) {
  struct Loaded {
    uint64_t cookie = 0;
    UniqueFd link, program;
  };
  // All programs pass the verifier before the first link changes.
  std::vector<Loaded> loaded;
  std::vector<uint64_t> dead;
  for (const LookupTarget& target : targets) {
    ASSIGN_OR_RETURN(UniqueFd link, open_link(pins_.lookup_link(target.netns_cookie)));
    if (!link.valid()) {
      dead.push_back(target.netns_cookie);
      continue;
    }
    ASSIGN_OR_RETURN(UniqueFd program, load_lookup(target.slot));
    loaded.push_back({.cookie = target.netns_cookie, .link = std::move(link), .program = std::move(program)});
  }
  for (Loaded& each : loaded) {
    const std::string name = Pins::lookup_name(each.cookie);
    RETURN_IF_ERROR(gate("switch", name));
    const absl::Status status = switch_.replace(name, each.link.get(), each.program.get());
    if (absl::IsNotFound(status)) {
      dead.push_back(each.cookie);
      continue;
    }
    RETURN_IF_ERROR(status);
    lookup_links_[each.cookie] = hold(std::move(each.link));
  }
  return dead;
}

absl::Status Programs::attach_cgroup(const std::string& cgroup_path) {
  const UniqueFd cgroup(::open(cgroup_path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat info{};
  if (!cgroup.valid() || fstat(cgroup.get(), &info) != 0) {
    return annotate("pass a cgroup2 directory with --cgroup",
                    errno_status(str_cat("open ", cgroup_path), errno));
  }
  // The inode of a cgroup2 directory is its cgroup id. sockops first: the first captured socket is measured
  // too. The connect hooks last: what they send elsewhere needs the others.
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
  ASSIGN_OR_RETURN(UniqueFd link, open_link(pins_.link(name)));
  if (link.valid() && link_info(link.get()).cgroup.cgroup_id == cgroup_id) {
    RETURN_IF_ERROR(gate("switch", name));
    RETURN_IF_ERROR(switch_.replace(name, link.get(), bpf_program__fd(program)));
    cgroup_links_[name] = hold(std::move(link));
    return absl::OkStatus();
  }
  // Nothing is pinned, or it belongs to another cgroup or to one that is gone: then commit() detaches it.
  RETURN_IF_ERROR(gate("attach", name));
  ASSIGN_OR_RETURN(link, switch_.attach(name, bpf_program__fd(program), cgroup_fd,
                                        bpf_program__expected_attach_type(program)));
  cgroup_links_[name] = hold(std::move(link));
  return absl::OkStatus();
}

absl::StatusOr<UniqueFd> Programs::load_lookup(uint32_t slot) const {
  ASSIGN_OR_RETURN(SkeletonPtr lookup, open_skeleton());
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, lookup->obj) bpf_program__set_autoload(program, false);
  bpf_program__set_autoload(lookup->progs.mesh_lookup, true);
  lookup->rodata->cfg_slot = slot;
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, lookup->obj) {
    if (bpf_map__is_internal(map)) continue;
    if (map_fd(bpf_map__name(map)) < 0) {
      bpf_map__set_autocreate(map, false);
      continue;
    }
    if (const int error = bpf_map__reuse_fd(map, map_fd(bpf_map__name(map))); error != 0) {
      return errno_status(str_cat("share map ", bpf_map__name(map)), -error);
    }
  }
  if (const int error = mesh__load(lookup.get()); error != 0) return errno_status("load mesh_lookup", -error);
  UniqueFd loaded(fcntl(bpf_program__fd(lookup->progs.mesh_lookup), F_DUPFD_CLOEXEC, 0));
  if (!loaded.valid()) return errno_status("keep mesh_lookup", errno);
  return loaded;
}

absl::Status Programs::commit() {
  if (migration_.size() != 0) wait_for_running_programs();
  RETURN_IF_ERROR(migration_.add_sums(knobs_.step));
  RETURN_IF_ERROR(stage_maps());
  RETURN_IF_ERROR(attach_shortcut());
  if (knobs_.step) RETURN_IF_ERROR(knobs_.step("commit"));
  RETURN_IF_ERROR(pins_.publish());
  committed_ = true;
  switch_.keep();
  drop_former_maps();
  if (migration_.size() != 0) log::info("maps_migrated", {{"maps", migration_.size()}});
  migration_ = Migration();
  return absl::OkStatus();
}

// Maps that are not the pinned ones: new in this version, or migrated.
absl::Status Programs::stage_maps() const {
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, skeleton_->obj) {
    const std::string name = bpf_map__name(map);
    if (bpf_map__is_internal(map) || bpf_map__fd(map) < 0 ||
        (exists(pins_.map(name)) && !migration_.replaces(name)))
      continue;
    RETURN_IF_ERROR(pins_.prepare_staging());
    const std::string path = pins_.staged_map(name);
    if (bpf_obj_pin(bpf_map__fd(map), path.c_str()) != 0) return errno_status(str_cat("pin ", path), errno);
  }
  return absl::OkStatus();
}

// Maps that this version does not have, and those of the shortcut when it is off and nobody has it any more.
// Left pinned, a later version would take their rows for current ones.
void Programs::drop_former_maps() const {
  const bool shortcut_is_over = shortcut_ != Shortcut::kOn && !pins_.holds_shortcuts();
  for (const std::string& name : pins_.pinned_maps()) {
    const bool over = shortcut_is_over && is_of_shortcut(name);
    if (!over && bpf_object__find_map_by_name(skeleton_->obj, name.c_str()) != nullptr) continue;
    if (unlink(pins_.map(name).c_str()) == 0) log::info("former_map_dropped", {{"map", name}});
  }
}

absl::Status Programs::take_back() {
  const bool changed = switch_.changed();
  absl::Status status = switch_.undo();
  if (changed && migration_.size() != 0) {
    wait_for_running_programs();
    const absl::Status counters = migration_.give_back();
    if (!counters.ok()) log::warn("counters_not_given_back", {{"error", counters.message()}});
  }
  pins_.drop_staging();
  committed_ = true;  // nothing is left to take back
  return status;
}

absl::Status Programs::abandon(const absl::Status& why) {
  const absl::Status status = take_back();
  cgroup_links_.clear();
  lookup_links_.clear();
  if (!status.ok()) {
    return absl::Status(why.code(),
                        str_cat(why.message(), "; and this failed too: ", status.message(),
                                ": programs of two versions are in force. Start either version again"));
  }
  if (!had_former_) return why;
  return absl::Status(why.code(), str_cat(why.message(), "; it was taken back: ", kFormerInForce));
}

absl::Status Programs::attach_lookup(uint64_t netns_cookie, uint32_t slot, int netns_fd) {
  ASSIGN_OR_RETURN(const UniqueFd program, load_lookup(slot));
  const std::string path = pins_.lookup_link(netns_cookie);
  ASSIGN_OR_RETURN(UniqueFd link, open_link(path));
  if (link.valid() && bpf_link_update(link.get(), program.get(), nullptr) == 0) {
    lookup_links_[netns_cookie] = hold(std::move(link));
    return absl::OkStatus();
  }
  Pins::remove_link(path);  // its namespace died
  link.reset(bpf_link_create(program.get(), netns_fd, BPF_SK_LOOKUP, nullptr));
  if (!link.valid()) return errno_status("attach mesh_lookup to the namespace", errno);
  if (bpf_obj_pin(link.get(), path.c_str()) != 0) return errno_status(str_cat("pin ", path), errno);
  lookup_links_[netns_cookie] = hold(std::move(link));
  return absl::OkStatus();
}

bool Programs::lookup_attached(uint64_t netns_cookie) const {
  const auto link = lookup_links_.find(netns_cookie);
  return link != lookup_links_.end() && link_info(link->second.fd.get()).netns.netns_ino != 0;
}

void Programs::detach_lookup(uint64_t netns_cookie) {
  Pins::remove_link(pins_.lookup_link(netns_cookie));
  lookup_links_.erase(netns_cookie);
}

int Programs::map_fd(const char* name) const { return bpf_object__find_map_fd_by_name(skeleton_->obj, name); }

Programs::HeldLink Programs::hold(UniqueFd link) {
  const uint32_t program = link_info(link.get()).prog_id;
  return {.fd = std::move(link), .program_id = program};
}

std::string Programs::problem_of(const std::string& name, const HeldLink& link, bool attached) const {
  if (!attached) return "detached";
  if (link_info(link.fd.get()).prog_id != link.program_id) return "another program is behind its link";
  return exists(pins_.link(name)) ? "" : "its pin is gone: no later agent can adopt it";
}

std::vector<Attachment> Programs::attachments() const {
  std::vector<Attachment> out;
  for (const auto& [name, link] : cgroup_links_) {
    const std::string hook =
        name == "mesh_sockops" ? "sockops" : "cgroup/" + name.substr(std::string_view("mesh_").size());
    const bool attached = link_info(link.fd.get()).cgroup.cgroup_id != 0;
    out.push_back(
        {.program = name, .hook = hook, .attached = attached, .problem = problem_of(name, link, attached)});
  }
  for (const auto& [cookie, link] : lookup_links_) {
    const bool attached = link_info(link.fd.get()).netns.netns_ino != 0;
    out.push_back({.program = "mesh_lookup",
                   .hook = "sk_lookup",
                   .netns_cookie = cookie,
                   .attached = attached,
                   .problem = problem_of(Pins::lookup_name(cookie), link, attached)});
  }
  return out;
}

}  // namespace weft::bpf
