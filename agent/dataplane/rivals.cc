// See rivals.h. How the kernel composes the lists of a cgroup and those above it: compute_effective_progs and
// hierarchy_allows_attach of kernel/bpf/cgroup.c.
#include "agent/dataplane/rivals.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#include <algorithm>
#include <filesystem>

#include "base/status_macros.h"
#include "bpf/user/link_switch.h"

namespace weft::agent {
namespace {

using bpf::HookProgram;
using bpf::HookPrograms;
using Effect = Rival::Effect;

constexpr const char* kConnectMeaning =
    "both run on every connect: where it rewrites an address or refuses, Weft sees what it left";
constexpr const char* kDatagramMeaning = "both run on every datagram: addresses may be rewritten twice";
constexpr const char* kNameMeaning = "both answer getpeername: the last of them is what the application sees";
constexpr const char* kSockopsMeaning =
    "both ask for callbacks of the same sockets: what it switches off, Weft does not measure";
constexpr const char* kLookupMeaning =
    "both choose the socket of a connection and the last one that chooses wins: connections may pass Weft by";

struct Hook {
  bpf_attach_type type;
  const char* name;
  const char* meaning;
};
constexpr Hook kCgroupHooks[] = {
    {BPF_CGROUP_INET4_CONNECT, "cgroup/connect4", kConnectMeaning},
    {BPF_CGROUP_INET6_CONNECT, "cgroup/connect6", kConnectMeaning},
    {BPF_CGROUP_UDP4_SENDMSG, "cgroup/sendmsg4", kDatagramMeaning},
    {BPF_CGROUP_UDP6_SENDMSG, "cgroup/sendmsg6", kDatagramMeaning},
    {BPF_CGROUP_UDP4_RECVMSG, "cgroup/recvmsg4", kDatagramMeaning},
    {BPF_CGROUP_UDP6_RECVMSG, "cgroup/recvmsg6", kDatagramMeaning},
    {BPF_CGROUP_INET4_GETPEERNAME, "cgroup/getpeername4", kNameMeaning},
    {BPF_CGROUP_INET6_GETPEERNAME, "cgroup/getpeername6", kNameMeaning},
    {BPF_CGROUP_SOCK_OPS, "sockops", kSockopsMeaning},
};

// Names as the kernel cuts them.
struct KnownOwner {
  const char* prefix;
  const char* owner;
  const char* hint;
};
constexpr const char* kOneMesh = "run one mesh on a node: uninstall Kmesh, or Weft with weft-agent cleanup";
constexpr const char* kCalico =
    "set bpfConnectTimeLoadBalancing to Disabled in Calico's FelixConfiguration: Weft balances at connect";
constexpr KnownOwner kKnownOwners[] = {
    {"cil_", "Cilium",
     "set socketLB.hostNamespaceOnly=true in Cilium's Helm values: pods' connects are then Weft's alone"},
    {"cgroup_connect4", "Kmesh", kOneMesh},
    {"cgroup_connect6", "Kmesh", kOneMesh},
    {"sockops_prog", "Kmesh", kOneMesh},
    {"calico_connect", "Calico", kCalico},
    {"calico_sendmsg", "Calico", kCalico},
    {"calico_recvmsg", "Calico", kCalico},
};
constexpr KnownOwner kOtherWeft{"mesh_", "another installation of Weft",
                                "run weft-agent cleanup with the --pin-root of the other one"};

const KnownOwner* known_owner(const HookProgram& program) {
  if (is_weft_program(program)) return &kOtherWeft;
  for (const KnownOwner& known : kKnownOwners) {
    if (program.name.starts_with(known.prefix)) return &known;
  }
  return nullptr;
}

std::string hint_for(const Rival& rival, const KnownOwner* known) {
  if (known != nullptr) return known->hint;
  const std::string show = str_cat("bpftool prog show id ", rival.id, " names its owner");
  if (rival.effect == Effect::kShares)
    return str_cat(show, "; if it changes no address and no mark, nothing is to be done");
  return str_cat(show,
                 "; attach it again with `multi`, or run weft-agent with a --cgroup that it does not cover");
}

Rival make_rival(const Hook& hook, const HookProgram& program, const std::string& where, Effect effect) {
  Rival out{.effect = effect, .hook = hook.name, .program = program.name, .id = program.id, .where = where};
  const KnownOwner* known = known_owner(program);
  if (known != nullptr) out.owner = known->owner;
  switch (effect) {
    case Effect::kShares:
      out.meaning = hook.meaning;
      break;
    case Effect::kBlocks:
      out.meaning =
          "it was attached without `multi`: no other program can run beside it, so Weft is not attached";
      break;
    case Effect::kSilenced:
      out.meaning = "it was attached without `multi`: it does not run below, where Weft is attached";
      break;
  }
  out.hint = hint_for(out, known);
  return out;
}

// The cgroup and those above it, as far as they are visible here.
std::vector<std::string> with_ancestors(const std::string& cgroup) {
  std::vector<std::string> out;
  std::error_code error;
  std::filesystem::path at = std::filesystem::canonical(cgroup, error);
  struct statfs info{};
  while (!error && statfs(at.c_str(), &info) == 0 && info.f_type == CGROUP2_SUPER_MAGIC) {
    out.push_back(at.string());
    if (at == at.root_path()) break;
    at = at.parent_path();
  }
  return out;
}

bool contains_any(const std::vector<HookProgram>& programs, const std::set<uint32_t>& ids) {
  return std::ranges::any_of(programs, [&ids](const HookProgram& p) { return ids.contains(p.id); });
}

// Without `multi` only the nearest list counts: it is what our attachment meets, or silences.
Effect effect_of(HookPrograms::Mode mode, bool ours_attached, bool nearest) {
  if (mode == HookPrograms::Mode::kMulti || !nearest) return Effect::kShares;
  return ours_attached ? Effect::kSilenced : Effect::kBlocks;
}

absl::Status add_rivals(const Hook& hook, const std::vector<std::string>& levels,
                        const std::set<uint32_t>& own, std::vector<Rival>* out) {
  bool ours_attached = false;
  bool nearest = true;
  std::set<uint32_t> seen = own;
  std::vector<HookProgram> effective;
  for (size_t level = 0; level < levels.size(); ++level) {
    const UniqueFd cgroup(::open(levels[level].c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const absl::StatusOr<HookPrograms> here = bpf::hook_programs(cgroup.get(), hook.type);
    if (absl::IsPermissionDenied(here.status())) return here.status();
    if (!here.ok()) continue;  // a hook that this kernel does not have: K-05 says so
    if (level == 0) {
      ours_attached = contains_any(here->programs, own);
      effective = bpf::effective_programs(cgroup.get(), hook.type).value_or(std::vector<HookProgram>());
    }
    bool foreign = false;
    for (const HookProgram& program : here->programs) {
      if (!seen.insert(program.id).second) continue;
      foreign = true;
      // One that a nearer list has silenced has nothing to do with us.
      if (!nearest && here->mode != HookPrograms::Mode::kMulti) continue;
      out->push_back(make_rival(hook, program, levels[level], effect_of(here->mode, ours_attached, nearest)));
    }
    nearest = nearest && !foreign;
  }
  for (const HookProgram& program : effective) {
    if (seen.insert(program.id).second)
      out->push_back(make_rival(hook, program, str_cat("a cgroup above ", levels.back()), Effect::kShares));
  }
  return absl::OkStatus();
}

}  // namespace

bool is_weft_program(const HookProgram& program) {
  if (!program.name.starts_with("mesh_")) return false;
  const std::vector<std::string> maps = bpf::maps_of_program(program.id);
  return std::ranges::any_of(maps, [](const std::string& name) {
    return name == "m_netns" || name == "m_listener" || name == "m_flow_sk" || name == "m_datagram_sk";
  });
}

std::set<uint32_t> pinned_programs(const bpf::Pins& pins) {
  std::set<uint32_t> out;
  for (const std::string& name : pins.pinned_links()) {
    const UniqueFd link(bpf_obj_get(pins.link(name).c_str()));
    const bpf_link_info info = bpf::link_info(link.get());
    if (info.prog_id != 0) out.insert(info.prog_id);
  }
  return out;
}

absl::StatusOr<std::vector<Rival>> cgroup_rivals(const std::string& cgroup, const std::set<uint32_t>& own) {
  std::vector<Rival> out;
  const std::vector<std::string> levels = with_ancestors(cgroup);
  if (levels.empty()) return absl::NotFoundError(str_cat("'", cgroup, "' is not a cgroup2 directory"));
  for (const Hook& hook : kCgroupHooks) RETURN_IF_ERROR(add_rivals(hook, levels, own, &out));
  return out;
}

std::vector<Rival> lookup_rivals(int netns_fd, const std::string& where, const std::set<uint32_t>& own) {
  std::vector<Rival> out;
  const Hook hook{BPF_SK_LOOKUP, "sk_lookup", kLookupMeaning};
  const absl::StatusOr<HookPrograms> here = bpf::hook_programs(netns_fd, hook.type);
  if (!here.ok()) return out;
  for (const HookProgram& program : here->programs) {
    if (!own.contains(program.id)) out.push_back(make_rival(hook, program, where, Effect::kShares));
  }
  return out;
}

}  // namespace weft::agent
