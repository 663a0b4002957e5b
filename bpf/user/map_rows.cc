// See map_rows.h. A kernel without batches for a type of map is served key by key.
#include "bpf/user/map_rows.h"

#include <bpf/libbpf.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/status_macros.h"

namespace weft::bpf {
namespace {

constexpr int kNotSupported = 524;  // ENOTSUPP, which no user-space header has
constexpr size_t kBatchBytes = size_t{1} << 20;

uint32_t rows_per_batch(const MapShape& shape) {
  const size_t row = shape.key_size + shape.value_bytes();
  return static_cast<uint32_t>(std::clamp<size_t>(kBatchBytes / std::max<size_t>(row, 1), 16, 16384));
}

absl::Status read_error(int error) { return errno_status("read the map", error); }

absl::Status read_by_key(int map_fd, const MapShape& shape, const TakeRows& take) {
  std::vector<std::byte> key(shape.key_size), next(shape.key_size), value(shape.value_bytes());
  // A key that is removed under the walk makes the kernel start over: bounded, so that it ends.
  uint64_t left = uint64_t{2} * shape.max_entries;
  bool more = bpf_map_get_next_key(map_fd, nullptr, next.data()) == 0;
  for (; more && left > 0; --left) {
    key.swap(next);
    if (bpf_map_lookup_elem(map_fd, key.data(), value.data()) == 0) {
      RETURN_IF_ERROR(take({.count = 1, .keys = key.data(), .values = value.data()}));
    } else if (errno != ENOENT) {
      return read_error(errno);
    }
    more = bpf_map_get_next_key(map_fd, key.data(), next.data()) == 0;
  }
  return absl::OkStatus();
}

bool batches_missing(int error) { return error == kNotSupported || error == EOPNOTSUPP || error == EINVAL; }

// Writes rows one by one where the batch did not take them.
absl::Status write_rows(int map_fd, const MapShape& shape, const MapRows& rows, uint64_t flags) {
  uint32_t count = rows.count;
  bpf_map_batch_opts options{};  // LIBBPF_OPTS is not C++
  options.sz = sizeof(options);
  if (flags == BPF_ANY && bpf_map_update_batch(map_fd, rows.keys, rows.values, &count, &options) == 0)
    return absl::OkStatus();
  const size_t value_bytes = shape.value_bytes();
  for (size_t i = 0; i < rows.count; ++i) {
    const int error =
        bpf_map_update_elem(map_fd, rows.keys + i * shape.key_size, rows.values + i * value_bytes, flags) == 0
            ? 0
            : errno;
    if (error == 0 || (flags == BPF_NOEXIST && error == EEXIST)) continue;
    if (error == E2BIG || error == ENOSPC) {
      return absl::ResourceExhaustedError(
          str_cat("its rows do not fit the ", shape.max_entries, " of this version"));
    }
    return errno_status("write the map", error);
  }
  return absl::OkStatus();
}

// Values of one shape as values of another.
class Converter {
 public:
  Converter(const MapShape& from, const MapShape& to)
      : from_bytes_(from.value_bytes()),
        to_bytes_(to.value_bytes()),
        parts_(from.per_cpu() ? possible_cpus() : 1),
        prefix_(std::min(from.value_size, to.value_size)) {}

  void convert(const std::byte* from, std::byte* to) const {
    std::memset(to, 0, to_bytes_);
    for (size_t part = 0; part < parts_; ++part)
      std::memcpy(to + part * (to_bytes_ / parts_), from + part * (from_bytes_ / parts_), prefix_);
  }

 private:
  size_t from_bytes_, to_bytes_, parts_, prefix_;
};

}  // namespace

size_t possible_cpus() { return static_cast<size_t>(std::max(libbpf_num_possible_cpus(), 1)); }

std::string MapShape::to_string() const {
  return str_cat("type ", type, ", key ", key_size, " bytes, value ", value_size, " bytes, ", max_entries,
                 " rows, flags ", flags);
}

bool MapShape::per_cpu() const {
  return type == BPF_MAP_TYPE_PERCPU_HASH || type == BPF_MAP_TYPE_PERCPU_ARRAY ||
         type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

bool MapShape::is_array() const { return type == BPF_MAP_TYPE_ARRAY || type == BPF_MAP_TYPE_PERCPU_ARRAY; }

size_t MapShape::value_bytes() const {
  const size_t size = value_size;
  return per_cpu() ? (size + 7) / 8 * 8 * possible_cpus() : size;
}

absl::StatusOr<MapShape> shape_of(int map_fd) {
  bpf_map_info info{};
  uint32_t length = sizeof(info);
  if (bpf_obj_get_info_by_fd(map_fd, &info, &length) != 0) return errno_status("read the map's shape", errno);
  return MapShape{.type = info.type,
                  .key_size = info.key_size,
                  .value_size = info.value_size,
                  .max_entries = info.max_entries,
                  .flags = info.map_flags};
}

absl::Status for_each_batch(int map_fd, const MapShape& shape, const TakeRows& take) {
  uint32_t size = rows_per_batch(shape);
  std::vector<std::byte> keys, values;
  // The kernel's place in the map: a bucket number for hashes, a key for the others.
  std::vector<std::byte> place(std::max<size_t>(shape.key_size, 8)), next(place.size());
  bpf_map_batch_opts options{};
  options.sz = sizeof(options);
  for (bool first = true;;) {
    keys.resize(size * size_t{shape.key_size});
    values.resize(size * shape.value_bytes());
    uint32_t count = size;
    const int error = bpf_map_lookup_batch(map_fd, first ? nullptr : place.data(), next.data(), keys.data(),
                                           values.data(), &count, &options) == 0
                          ? 0
                          : errno;
    if (first && batches_missing(error)) return read_by_key(map_fd, shape, take);
    if (error == ENOSPC) {  // one bucket of the hash holds more than that
      size *= 2;
      continue;
    }
    if (error != 0 && error != ENOENT) return read_error(error);
    if (count > 0) RETURN_IF_ERROR(take({.count = count, .keys = keys.data(), .values = values.data()}));
    if (error == ENOENT) return absl::OkStatus();
    place.swap(next);
    first = false;
  }
}

absl::StatusOr<uint64_t> copy_rows(int from, const MapShape& from_shape, int to, const MapShape& to_shape,
                                   CopyMode mode) {
  const Converter converter(from_shape, to_shape);
  const size_t from_bytes = from_shape.value_bytes();
  const size_t to_bytes = to_shape.value_bytes();
  const size_t key_size = to_shape.key_size;
  uint64_t total = 0;
  std::vector<std::byte> keys, values;
  RETURN_IF_ERROR(for_each_batch(from, from_shape, [&](const MapRows& rows) -> absl::Status {
    keys.resize(rows.count * key_size);
    values.resize(rows.count * to_bytes);
    uint32_t kept = 0;
    for (size_t i = 0; i < rows.count; ++i) {
      const std::byte* key = rows.keys + i * key_size;
      uint32_t index = 0;
      if (to_shape.is_array()) std::memcpy(&index, key, sizeof(index));
      if (to_shape.is_array() && index >= to_shape.max_entries) continue;
      std::memcpy(keys.data() + kept * key_size, key, key_size);
      converter.convert(rows.values + i * from_bytes, values.data() + kept * to_bytes);
      ++kept;
    }
    total += kept;
    return write_rows(to, to_shape, {.count = kept, .keys = keys.data(), .values = values.data()},
                      mode == CopyMode::kReplace ? BPF_ANY : BPF_NOEXIST);
  }));
  return total;
}

}  // namespace weft::bpf
