// Typed views of kernel maps by descriptor: one C++ type for key and value, sizes checked by the compiler.
// Used by the dataplane for every map; never creates, pins or owns a map. Safe from any thread, as the system
// calls are.
#pragma once

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cerrno>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "base/status_macros.h"

namespace weft::bpf {

// E2BIG is what a full hash map answers; the rest is as errno_status says it.
inline absl::Status map_error(std::string_view map, int error) {
  if (error == E2BIG || error == ENOSPC) {
    return absl::ResourceExhaustedError(
        str_cat("map ", map,
                " is full: enroll fewer namespaces or remove exclusions; `weft status` shows the sizes"));
  }
  return errno_status(str_cat("write map ", map), error);
}

template <typename K, typename V>
class Map {
 public:
  Map() = default;
  Map(int fd, const char* name) : fd_(fd), name_(name) {}

  absl::Status put(const K& key, const V& value) const {
    if (bpf_map_update_elem(fd_, &key, &value, BPF_ANY) != 0) return map_error(name_, errno);
    return absl::OkStatus();
  }
  std::optional<V> find(const K& key) const {
    V value{};
    if (bpf_map_lookup_elem(fd_, &key, &value) != 0) return std::nullopt;
    return value;
  }
  // True when there was something to remove.
  bool erase(const K& key) const { return bpf_map_delete_elem(fd_, &key) == 0; }
  // A snapshot; a key removed meanwhile makes the kernel start over, so the walk is bounded and may repeat
  // keys.
  std::vector<K> keys(size_t limit) const {
    std::vector<K> out;
    K key{};
    bool more = bpf_map_get_next_key(fd_, nullptr, &key) == 0;
    while (more && out.size() < limit) {
      out.push_back(key);
      K next{};
      more = bpf_map_get_next_key(fd_, &out.back(), &next) == 0;
      key = next;
    }
    return out;
  }
  int fd() const { return fd_; }
  const char* name() const { return name_; }

 private:
  int fd_ = -1;
  const char* name_ = "";
};

// The values of one key of a per-CPU map, one per possible CPU; empty when the key is missing.
template <typename K, typename V>
std::vector<V> per_cpu_values(int fd, const K& key) {
  static_assert(sizeof(V) % 8 == 0, "the kernel pads per-CPU values to 8 bytes");
  const int cpus = libbpf_num_possible_cpus();
  if (cpus <= 0) return {};
  std::vector<V> values(static_cast<size_t>(cpus));
  if (bpf_map_lookup_elem(fd, &key, values.data()) != 0) return {};
  return values;
}

}  // namespace weft::bpf
