// Rows of a kernel map as the dataplane describes them to its callers. Plain data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace weft::agent {

// Words, or the id of a workload or service whose name the reader knows.
struct MapCell {
  std::string text;
  bool is_subject = false;
  uint32_t subject = 0;
};

struct MapText {
  std::vector<std::string> columns;
  std::vector<std::vector<MapCell>> rows;  // a cell for each column
  uint64_t total = 0;                      // with those that the limit left out
};

}  // namespace weft::agent
