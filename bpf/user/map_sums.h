// Maps whose values are sums of 64-bit words that kernel programs add to atomically. Adding to such a map
// from user space must not lose what a program adds at the same moment, and a write by system call would: it
// overwrites. So the addition is done by a program too, a tiny one, run by hand once per row. Used by the
// migration of pinned maps. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/fd.h"
#include "bpf/user/map_rows.h"

namespace weft::bpf {

// Key bytes -> its words, of a per-CPU map summed over the CPUs.
using Sums = std::map<std::string, std::vector<uint64_t>>;

// The first `words` words of every row.
absl::StatusOr<Sums> read_sums(int map_fd, const MapShape& shape, size_t words);
// a - b, word by word; rows that are missing in `b` count as zeros.
Sums difference(Sums a, const Sums& b);

class SumAdder {
 public:
  // Loads the program for this map, whose descriptor must stay open; rows have at least `words` words.
  static absl::StatusOr<SumAdder> create(int map_fd, const MapShape& shape, size_t words);

  // Adds each row, making those that are missing; what was added is noted in `added`, also when it ends with
  // an error. Returns how many rows found no room: their sums are lost.
  absl::StatusOr<uint64_t> add(const Sums& sums, Sums& added) const;

 private:
  enum class Outcome { kAdded, kMissing };

  SumAdder(UniqueFd program, int map_fd, const MapShape& shape, size_t words)
      : program_(std::move(program)), map_fd_(map_fd), shape_(shape), words_(words) {}
  absl::StatusOr<Outcome> add_row(const std::string& key, const std::vector<uint64_t>& words) const;

  UniqueFd program_;
  int map_fd_;
  MapShape shape_;
  size_t words_;
};

}  // namespace weft::bpf
