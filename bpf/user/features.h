// What this kernel can do, found by trying: tiny programs are loaded and thrown away. Used by the checks and
// by the error path of loading. Not libbpf_probe_bpf_helper: before libbpf 1.3 it takes every helper for
// available on newer kernels.
#pragma once

#include <linux/bpf.h>

#include <string>
#include <vector>

namespace weft::bpf {

struct Feature {
  std::string name;  // "cgroup/connect4 with bpf_setsockopt"
  bool available = false;
  std::string error;  // of the kernel, when not available
};

// Loads a program of this type that calls nothing, or this helper (0: none).
Feature probe_program(std::string name, bpf_prog_type type, bpf_attach_type attach_type, int helper);

// Every program type, attach type and helper that the programs of Weft use.
std::vector<Feature> probe_features();

}  // namespace weft::bpf
