// A program of somebody else on a hook of Weft: counts how often it runs and answers always the same. Used by
// the suite about coexistence.
#pragma once

#include <linux/bpf.h>

#include <cstdint>
#include <string>

#include "base/fd.h"

namespace weft::agent {

class ForeignProgram {
 public:
  enum class Verdict : uint8_t { kPass, kRefuse };

  // Loads it; id() is 0 when the kernel refused. `name` is cut to 15 characters.
  ForeignProgram(bpf_attach_type type, const std::string& name, Verdict verdict = Verdict::kPass);

  // To a cgroup directory or a namespace, through a link of its own, as most loaders do today; true when it
  // is attached. The link ends with this object unless it is pinned.
  bool link_to(const std::string& target);
  bool pin_link(const std::string& path) const;
  // As loaders without links do it; `flags` are BPF_F_ALLOW_*. It stays until the cgroup goes.
  bool attach_to(const std::string& cgroup, uint32_t flags);

  uint32_t id() const;
  uint64_t runs() const;

 private:
  bpf_attach_type type_;
  UniqueFd runs_;
  UniqueFd program_;
  UniqueFd link_;
};

}  // namespace weft::agent
