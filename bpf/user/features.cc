// Probes by loading. Called by `weft check --pre` and after a failed load; never attaches anything.
#include "bpf/user/features.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "base/fd.h"
#include "base/strings.h"

namespace weft::bpf {
namespace {

bpf_insn instruction(uint8_t code, uint8_t destination, int32_t immediate) {
  bpf_insn insn{};
  insn.code = code;
  insn.dst_reg = destination;
  insn.imm = immediate;
  return insn;
}

// Both wordings: "unknown func" before 6.7, "program of this type cannot use helper" since.
bool helper_refused(std::string_view log) {
  return log.find("unknown func") != std::string_view::npos ||
         log.find("cannot use helper") != std::string_view::npos ||
         log.find("invalid func") != std::string_view::npos;
}

}  // namespace

Feature probe_program(std::string name, bpf_prog_type type, bpf_attach_type attach_type, int helper) {
  std::vector<bpf_insn> code;
  if (helper != 0) code.push_back(instruction(BPF_JMP | BPF_CALL, 0, helper));
  code.push_back(instruction(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 1));
  code.push_back(instruction(BPF_JMP | BPF_EXIT, 0, 0));
  std::array<char, 4096> log{};
  bpf_prog_load_opts options{};  // LIBBPF_OPTS is not C++
  options.sz = sizeof(options);
  options.expected_attach_type = attach_type;
  options.log_buf = log.data();
  options.log_size = log.size();
  options.log_level = 1;
  const UniqueFd program(bpf_prog_load(type, "weft_probe", "GPL", code.data(), code.size(), &options));
  const int error = errno;
  Feature feature{.name = std::move(name)};
  // A helper call with arguments of the wrong kind is refused too, but only after the helper was found.
  const std::string_view text(log.data());
  const bool only_arguments =
      helper != 0 && (error == EACCES || error == EINVAL) && !text.empty() && !helper_refused(text);
  feature.available = program.valid() || only_arguments;
  if (!feature.available) feature.error = str_cat(std::strerror(error), text.empty() ? "" : ": ", text);
  return feature;
}

std::vector<Feature> probe_features() {
  struct Probe {
    const char* hook;
    bpf_prog_type type;
    bpf_attach_type attach;
    std::vector<std::pair<const char*, int>> helpers;
  };
  const std::vector<std::pair<const char*, int>> connect = {
      {"bpf_setsockopt", BPF_FUNC_setsockopt},
      {"bpf_get_netns_cookie", BPF_FUNC_get_netns_cookie},
      {"bpf_get_current_pid_tgid", BPF_FUNC_get_current_pid_tgid},
      {"bpf_sk_release", BPF_FUNC_sk_release},
      {"bpf_sk_storage_get", BPF_FUNC_sk_storage_get},
      {"bpf_sk_storage_delete", BPF_FUNC_sk_storage_delete}};
  const std::vector<std::pair<const char*, int>> peer = {{"bpf_sk_storage_get", BPF_FUNC_sk_storage_get}};
  const std::vector<std::pair<const char*, int>> datagram = {
      {"bpf_sk_storage_get", BPF_FUNC_sk_storage_get},
      {"bpf_get_netns_cookie", BPF_FUNC_get_netns_cookie},
      {"bpf_get_prandom_u32", BPF_FUNC_get_prandom_u32}};
  const std::vector<Probe> probes = {
      {"cgroup/connect4", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT, connect},
      {"cgroup/connect6", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET6_CONNECT, connect},
      {"cgroup/sendmsg4", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_UDP4_SENDMSG, datagram},
      {"cgroup/sendmsg6", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_UDP6_SENDMSG, datagram},
      {"cgroup/recvmsg4", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_UDP4_RECVMSG, peer},
      {"cgroup/recvmsg6", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_UDP6_RECVMSG, peer},
      {"cgroup/getpeername4", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_GETPEERNAME, peer},
      {"cgroup/getpeername6", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET6_GETPEERNAME, peer},
      {"sockops",
       BPF_PROG_TYPE_SOCK_OPS,
       BPF_CGROUP_SOCK_OPS,
       {{"bpf_sk_storage_get", BPF_FUNC_sk_storage_get},
        {"bpf_get_netns_cookie", BPF_FUNC_get_netns_cookie},
        {"bpf_sock_ops_cb_flags_set", BPF_FUNC_sock_ops_cb_flags_set},
        {"bpf_ktime_get_ns", BPF_FUNC_ktime_get_ns}}},
      {"sk_lookup",
       BPF_PROG_TYPE_SK_LOOKUP,
       BPF_SK_LOOKUP,
       {{"bpf_sk_assign", BPF_FUNC_sk_assign}, {"bpf_sk_release", BPF_FUNC_sk_release}}},
  };
  std::vector<Feature> features;
  for (const Probe& probe : probes) {
    features.push_back(probe_program(probe.hook, probe.type, probe.attach, 0));
    for (const auto& [helper, id] : probe.helpers) {
      features.push_back(probe_program(str_cat(probe.hook, " with ", helper), probe.type, probe.attach, id));
    }
  }
  return features;
}

}  // namespace weft::bpf
