// Many rows of one map in few system calls (BPF_MAP_UPDATE_BATCH, Linux 5.6). Used by the tables that hold a
// whole mesh. One thread.
#pragma once

#include <algorithm>
#include <vector>

#include "bpf/user/map.h"

namespace weft::bpf {

template <typename K, typename V>
class Batch {
 public:
  void put(const K& key, const V& value) {
    keys_.push_back(key);
    values_.push_back(value);
  }
  size_t size() const { return keys_.size(); }

  // Writes all rows. A row that the kernel refuses does not stop those after it: `refused(i)` is called with
  // its place in the order of put(). Empty afterwards. The first error.
  template <typename Refused>
  absl::Status write(const Map<K, V>& map, Refused refused) {
    absl::Status first;
    for (size_t done = 0; done < keys_.size();) {
      uint32_t count = static_cast<uint32_t>(std::min<size_t>(keys_.size() - done, kMost));
      bpf_map_batch_opts options{};  // LIBBPF_OPTS is not C++
      options.sz = sizeof(options);
      const int error = bpf_map_update_batch(map.fd(), &keys_[done], &values_[done], &count, &options);
      if (error == 0) {
        done += count;
        continue;
      }
      // EFAULT says nothing about how far it came; the rows are written one by one then.
      if (errno != EFAULT) done += count;
      if (done >= keys_.size()) break;
      const absl::Status status = map.put(keys_[done], values_[done]);
      if (!status.ok()) {
        refused(done);
        if (first.ok()) first = status;
      }
      ++done;
    }
    keys_.clear();
    values_.clear();
    return first;
  }

 private:
  static constexpr size_t kMost = 16384;

  std::vector<K> keys_;
  std::vector<V> values_;
};

}  // namespace weft::bpf
