// A few instructions by hand: the suites have no other BPF objects than Weft's own. See foreign_program.h.
#include "tests/bpf/foreign_program.h"

#include <bpf/bpf.h>
#include <fcntl.h>

#include <vector>

namespace weft::agent {
namespace {

bpf_prog_type program_type(bpf_attach_type type) {
  if (type == BPF_CGROUP_SOCK_OPS) return BPF_PROG_TYPE_SOCK_OPS;
  if (type == BPF_SK_LOOKUP) return BPF_PROG_TYPE_SK_LOOKUP;
  return BPF_PROG_TYPE_CGROUP_SOCK_ADDR;
}

bpf_insn instruction(int code, uint8_t destination, uint8_t source, int16_t offset, int32_t immediate) {
  bpf_insn insn{};
  insn.code = static_cast<uint8_t>(code);
  insn.dst_reg = destination & 0xf;
  insn.src_reg = source & 0xf;
  insn.off = offset;
  insn.imm = immediate;
  return insn;
}

// row = runs[0]; if (row) ++*row; return answer.
std::vector<bpf_insn> counting(int map, int answer) {
  return {
      instruction(BPF_ST | BPF_MEM | BPF_W, BPF_REG_10, 0, -4, 0),
      instruction(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_2, BPF_REG_10, 0, 0),
      instruction(BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_2, 0, 0, -4),
      instruction(BPF_LD | BPF_DW | BPF_IMM, BPF_REG_1, BPF_PSEUDO_MAP_FD, 0, map),
      instruction(0, 0, 0, 0, 0),
      instruction(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_lookup_elem),
      instruction(BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_0, 0, 2, 0),
      instruction(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_1, 0, 0, 1),
      instruction(BPF_STX | BPF_ATOMIC | BPF_DW, BPF_REG_0, BPF_REG_1, 0, BPF_ADD),
      instruction(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, answer),
      instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
  };
}

UniqueFd open_target(const std::string& path) { return UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC)); }

}  // namespace

ForeignProgram::ForeignProgram(bpf_attach_type type, const std::string& name, Verdict verdict)
    : type_(type), runs_(bpf_map_create(BPF_MAP_TYPE_ARRAY, "foreign_runs", 4, 8, 1, nullptr)) {
  const std::vector<bpf_insn> code = counting(runs_.get(), verdict == Verdict::kPass ? 1 : 0);
  bpf_prog_load_opts options{};  // LIBBPF_OPTS is not C++
  options.sz = sizeof(options);
  options.expected_attach_type = type;
  program_.reset(bpf_prog_load(program_type(type), name.substr(0, BPF_OBJ_NAME_LEN - 1).c_str(), "GPL",
                               code.data(), code.size(), &options));
}

bool ForeignProgram::link_to(const std::string& target) {
  link_.reset(bpf_link_create(program_.get(), open_target(target).get(), type_, nullptr));
  return link_.valid();
}

bool ForeignProgram::pin_link(const std::string& path) const {
  return bpf_obj_pin(link_.get(), path.c_str()) == 0;
}

bool ForeignProgram::attach_to(const std::string& cgroup, uint32_t flags) {
  return bpf_prog_attach(program_.get(), open_target(cgroup).get(), type_, flags) == 0;
}

uint32_t ForeignProgram::id() const {
  bpf_prog_info info{};
  uint32_t length = sizeof(info);
  return bpf_obj_get_info_by_fd(program_.get(), &info, &length) == 0 ? info.id : 0;
}

uint64_t ForeignProgram::runs() const {
  const uint32_t index = 0;
  uint64_t count = 0;
  bpf_map_lookup_elem(runs_.get(), &index, &count);
  return count;
}

}  // namespace weft::agent
