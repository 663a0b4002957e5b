// All rows of a kernel map as bytes, in batches: reading, and copying from one map to another of a different
// value size. Used by the migration of pinned maps. Knows sizes only, never what a row means. One thread.
#pragma once

#include <bpf/bpf.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace weft::bpf {

// What makes two maps interchangeable. Sizes in bytes.
struct MapShape {
  uint32_t type = 0;
  uint32_t key_size = 0;
  uint32_t value_size = 0;
  uint32_t max_entries = 0;
  uint32_t flags = 0;

  bool operator==(const MapShape&) const = default;
  // "type 1, key 8, value 16, 1024 rows, flags 0", for messages.
  std::string to_string() const;
  bool per_cpu() const;
  bool is_array() const;
  // Bytes of one row's value as the system call moves it: of a per-CPU map one padded value per possible CPU.
  size_t value_bytes() const;
};

absl::StatusOr<MapShape> shape_of(int map_fd);

// Some rows, keys and values each one after the other.
struct MapRows {
  uint32_t count = 0;
  const std::byte* keys = nullptr;
  const std::byte* values = nullptr;
};
using TakeRows = std::function<absl::Status(const MapRows&)>;

// Calls `take` until every row was seen; its first error ends it. A row that others remove or add meanwhile
// may or may not be seen.
absl::Status for_each_batch(int map_fd, const MapShape& shape, const TakeRows& take);

enum class CopyMode {
  kReplace,  // rows of `to` with the same key are overwritten
  kMissing,  // and here they are left as they are
};

// Copies the common prefix of every value and fills the rest with zeros; of per-CPU maps CPU by CPU. Rows of
// an array beyond the end of `to` are left out; a hash that is too small for all rows is an error. Returns
// how many rows there were. The key sizes must be equal.
absl::StatusOr<uint64_t> copy_rows(int from, const MapShape& from_shape, int to, const MapShape& to_shape,
                                   CopyMode mode);

// Number of possible CPUs; at least 1.
size_t possible_cpus();

}  // namespace weft::bpf
