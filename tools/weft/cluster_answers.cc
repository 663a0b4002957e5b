// See cluster_answers.h.
#include "tools/weft/cluster_answers.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/strings.h"

namespace weft::cli {
namespace {

constexpr size_t kMostNames = 3;

using Row = std::vector<std::string>;

std::string names_text(const std::vector<std::string>& names, size_t answered) {
  if (names.size() == answered && answered > 1) return "all";
  std::string out;
  for (size_t i = 0; i < std::min(names.size(), kMostNames); ++i)
    str_append(&out, i == 0 ? "" : ",", names[i]);
  if (names.size() > kMostNames) str_append(&out, " and ", names.size() - kMostNames, " more");
  return out;
}

Table merged_table(const std::vector<NodeAnswer>& answers) {
  Table out;
  std::vector<std::pair<Row, std::vector<std::string>>> rows;
  std::map<Row, size_t> known;
  size_t answered = 0;
  for (const NodeAnswer& answer : answers) {
    if (!answer.columns) continue;
    ++answered;
    out.head = answer.table.head;
    for (const Row& row : answer.table.rows) {
      const auto [at, fresh] = known.try_emplace(row, rows.size());
      if (fresh) rows.push_back({row, {}});
      std::vector<std::string>& names = rows[at->second].second;
      if (names.empty() || names.back() != answer.node) names.push_back(answer.node);
    }
  }
  const bool has_node = std::find(out.head.begin(), out.head.end(), "NODE") != out.head.end();
  const bool of_nodes = !out.head.empty() && out.head.front() == "NODE";
  if (!of_nodes) out.head.insert(out.head.begin(), has_node ? "AGENT" : "NODE");
  for (auto& [row, names] : rows) {
    if (!of_nodes) row.insert(row.begin(), names_text(names, answered));
    out.rows.push_back(std::move(row));
  }
  return out;
}

}  // namespace

std::string merged_text(const std::vector<NodeAnswer>& answers) {
  const bool columns =
      std::any_of(answers.begin(), answers.end(), [](const NodeAnswer& answer) { return answer.columns; });
  std::string out = columns ? render_table(merged_table(answers)) : "";
  for (const NodeAnswer& answer : answers) {
    if (!answer.text.empty()) str_append(&out, out.empty() ? "" : "\n", answer.node, ":\n", answer.text);
  }
  return out;
}

Json merged_json(const std::vector<NodeAnswer>& answers) {
  Json nodes = Json::array();
  for (const NodeAnswer& answer : answers) {
    if (answer.answered())
      nodes.push_back({{"node", answer.node}, {"answer", answer.value}});
    else
      nodes.push_back({{"node", answer.node}, {"error", answer.error}});
  }
  return {{"schema", "weft.nodes.v1"}, {"nodes", nodes}};
}

}  // namespace weft::cli
