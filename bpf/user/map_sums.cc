// The program is of type SCHED_CLS, because that runs by hand on every kernel that Weft supports; it gets key
// and words as if they were a packet. It adds on the CPU that runs it, which is as good as any other: only
// sums over CPUs are read. See map_sums.h.
#include "bpf/user/map_sums.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/status_macros.h"

namespace weft::bpf {
namespace {

// A packet is at least an Ethernet header; 16 keeps the words aligned.
constexpr size_t kHeader = 16;
// What fits the page that the kernel lets a packet made by hand have, with room to spare.
constexpr size_t kMostBytes = 3072;
constexpr int kAdded = 0;
constexpr int kNoRow = 1;
constexpr int kBadInput = 2;

size_t padded(size_t bytes) { return (bytes + 7) / 8 * 8; }

class Assembler {
 public:
  void emit(uint8_t code, uint8_t destination, uint8_t source, size_t offset, int immediate) {
    bpf_insn insn{};
    insn.code = code;
    insn.dst_reg = destination & 0xf;
    insn.src_reg = source & 0xf;
    insn.off = static_cast<int16_t>(offset);
    insn.imm = immediate;
    code_.push_back(insn);
  }
  void load(uint8_t size, uint8_t destination, uint8_t source, size_t offset) {
    emit(BPF_LDX | BPF_MEM | size, destination, source, offset, 0);
  }
  void move(uint8_t destination, uint8_t source) {
    emit(BPF_ALU64 | BPF_MOV | BPF_X, destination, source, 0, 0);
  }
  void leave(int result) {
    emit(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, result);
    emit(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
  }
  const std::vector<bpf_insn>& code() const { return code_; }

 private:
  std::vector<bpf_insn> code_;
};

// r6: the packet; the key goes to the stack, because not every map takes a key from a packet.
std::vector<bpf_insn> adder_code(int map_fd, size_t key_size, size_t words) {
  const size_t total = kHeader + padded(key_size) + 8 * words;
  const size_t stack = size_t{0} - padded(key_size);  // a negative offset from r10
  Assembler as;
  as.load(BPF_W, BPF_REG_6, BPF_REG_1, offsetof(__sk_buff, data));
  as.load(BPF_W, BPF_REG_7, BPF_REG_1, offsetof(__sk_buff, data_end));
  as.move(BPF_REG_2, BPF_REG_6);
  as.emit(BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_2, 0, 0, static_cast<int>(total));
  as.emit(BPF_JMP | BPF_JLE | BPF_X, BPF_REG_2, BPF_REG_7, 2, 0);
  as.leave(kBadInput);
  for (size_t at = 0; at < padded(key_size); at += 8) {
    as.load(BPF_DW, BPF_REG_3, BPF_REG_6, kHeader + at);
    as.emit(BPF_STX | BPF_MEM | BPF_DW, BPF_REG_10, BPF_REG_3, stack + at, 0);
  }
  as.emit(BPF_LD | BPF_IMM | BPF_DW, BPF_REG_1, BPF_PSEUDO_MAP_FD, 0, map_fd);
  as.emit(0, 0, 0, 0, 0);
  as.move(BPF_REG_2, BPF_REG_10);
  as.emit(BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_2, 0, 0, -static_cast<int>(padded(key_size)));
  as.emit(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_lookup_elem);
  as.emit(BPF_JMP | BPF_JNE | BPF_K, BPF_REG_0, 0, 2, 0);
  as.leave(kNoRow);
  for (size_t i = 0; i < words; ++i) {
    as.load(BPF_DW, BPF_REG_3, BPF_REG_6, kHeader + padded(key_size) + 8 * i);
    as.emit(BPF_STX | BPF_ATOMIC | BPF_DW, BPF_REG_0, BPF_REG_3, 8 * i, BPF_ADD);
  }
  as.leave(kAdded);
  return as.code();
}

}  // namespace

absl::StatusOr<Sums> read_sums(int map_fd, const MapShape& shape, size_t words) {
  const size_t parts = shape.per_cpu() ? possible_cpus() : 1;
  const size_t row = shape.value_bytes();
  Sums sums;
  RETURN_IF_ERROR(for_each_batch(map_fd, shape, [&](const MapRows& rows) {
    for (size_t i = 0; i < rows.count; ++i) {
      const auto* key = reinterpret_cast<const char*>(rows.keys + i * shape.key_size);
      // Assigned, not added: a walk that the kernel starts over shows a row twice.
      std::vector<uint64_t>& sum = sums[std::string(key, shape.key_size)];
      sum.assign(words, 0);
      for (size_t part = 0; part < parts; ++part) {
        for (size_t word = 0; word < words; ++word) {
          uint64_t value = 0;
          std::memcpy(&value, rows.values + i * row + part * (row / parts) + 8 * word, sizeof(value));
          sum[word] += value;
        }
      }
    }
    return absl::OkStatus();
  }));
  return sums;
}

Sums difference(Sums a, const Sums& b) {
  for (auto& [key, words] : a) {
    const auto other = b.find(key);
    if (other == b.end()) continue;
    for (size_t i = 0; i < words.size() && i < other->second.size(); ++i) words[i] -= other->second[i];
  }
  return a;
}

absl::StatusOr<SumAdder> SumAdder::create(int map_fd, const MapShape& shape, size_t words) {
  if (kHeader + padded(shape.key_size) + 8 * words > kMostBytes || 8 * words > shape.value_size)
    return absl::InvalidArgumentError(str_cat("rows of ", shape.value_size, " bytes cannot be added up"));
  const std::vector<bpf_insn> code = adder_code(map_fd, shape.key_size, words);
  bpf_prog_load_opts options{};  // LIBBPF_OPTS is not C++
  options.sz = sizeof(options);
  UniqueFd program(
      bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "weft_add", "GPL", code.data(), code.size(), &options));
  if (!program.valid()) return errno_status("load the program that adds counters", errno);
  return SumAdder(std::move(program), map_fd, shape, words);
}

absl::StatusOr<SumAdder::Outcome> SumAdder::add_row(const std::string& key,
                                                    const std::vector<uint64_t>& words) const {
  std::array<std::byte, kMostBytes> packet{};
  const size_t values = kHeader + padded(shape_.key_size);
  std::memcpy(packet.data() + kHeader, key.data(), key.size());
  std::memcpy(packet.data() + values, words.data(), 8 * words_);
  bpf_test_run_opts options{};
  options.sz = sizeof(options);
  options.data_in = packet.data();
  options.data_size_in = static_cast<uint32_t>(values + 8 * words_);
  options.repeat = 1;
  if (bpf_prog_test_run_opts(program_.get(), &options) != 0) return errno_status("add counters", errno);
  if (options.retval == kAdded) return Outcome::kAdded;
  if (options.retval == kNoRow) return Outcome::kMissing;
  return absl::InternalError("the program that adds counters refused its input");
}

absl::StatusOr<uint64_t> SumAdder::add(const Sums& sums, Sums& added) const {
  const std::vector<std::byte> zero(shape_.value_bytes());
  uint64_t lost = 0;
  for (const auto& [key, words] : sums) {
    if (std::all_of(words.begin(), words.end(), [](uint64_t word) { return word == 0; })) continue;
    ASSIGN_OR_RETURN(Outcome outcome, add_row(key, words));
    if (outcome == Outcome::kMissing) {
      // Whoever makes it first, it starts at zero.
      bpf_map_update_elem(map_fd_, key.data(), zero.data(), BPF_NOEXIST);
      ASSIGN_OR_RETURN(outcome, add_row(key, words));
    }
    if (outcome == Outcome::kAdded)
      added[key] = words;
    else
      ++lost;
  }
  return lost;
}

}  // namespace weft::bpf
