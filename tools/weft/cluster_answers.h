// What the agents of several nodes said to one question, and how it is put together: one table, of which a
// row that several have in common stands once. Pure; used by in_cluster.cc.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "tools/weft/output.h"

namespace weft::cli {

struct NodeAnswer {
  std::string node;
  // All that are asked.
  const std::set<std::string>* nodes = nullptr;
  int code = 0;
  std::string error;  // words about it, "error: …\nnext: …\n"
  Json value;
  bool columns = false;  // there is a table
  Table table;
  std::string text;  // below it, or instead

  // Whether the agent of that node is asked too, and is not this one: it knows better.
  bool is_of_another(const std::string& other) const {
    return nodes != nullptr && other != node && nodes->contains(other);
  }
  bool answered() const { return !value.is_null(); }
};

// NODE, or AGENT where the table has a NODE, in front: "all", or whose they are. A table whose first column
// is NODE is one row of each already. Then what stands below, node by node.
std::string merged_text(const std::vector<NodeAnswer>& answers);
// {"schema": "weft.nodes.v1", "nodes": [{"node", "answer"} or {"node", "error"}]}
Json merged_json(const std::vector<NodeAnswer>& answers);

}  // namespace weft::cli
