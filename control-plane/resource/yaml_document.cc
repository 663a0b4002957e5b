// See yaml_document.h. A file is cut at its document markers first, so that a broken document does not hide
// the next one.
#include "control-plane/resource/yaml_document.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <map>
#include <sstream>
#include <utility>

#include "base/strings.h"

namespace weft::control_plane {
namespace {

size_t count_nodes(const YamlNode& node) {
  size_t count = 1;
  for (const YamlNode& item : node.items) count += count_nodes(item);
  for (const YamlField& field : node.fields) count += count_nodes(field.value);
  return count;
}

size_t depth_of(const YamlNode& node) {
  size_t deepest = 0;
  for (const YamlNode& item : node.items) deepest = std::max(deepest, depth_of(item));
  for (const YamlField& field : node.fields) deepest = std::max(deepest, depth_of(field.value));
  return deepest + 1;
}

// Builds the tree from yaml-cpp's events. After the first broken limit it only counts brackets.
class TreeBuilder final : public YAML::EventHandler {
 public:
  explicit TreeBuilder(uint32_t first_line) : first_line_(first_line) {}

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    add({.kind = YamlNode::Kind::kNull, .line = line_of(mark)}, anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) return fail("an alias that refers to itself", line_of(mark));
    if (nodes_ + found->second.nodes > kMaxNodes) {
      return fail(str_cat("aliases that expand to more than ", kMaxNodes, " nodes"), line_of(mark));
    }
    if (open_.size() + found->second.depth > kMaxNesting) return fail(nesting_error(), line_of(mark));
    nodes_ += found->second.nodes;
    place(found->second.node);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    add({.kind = YamlNode::Kind::kScalar, .plain = tag == "?", .line = line_of(mark), .scalar = value},
        anchor);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open({.kind = YamlNode::Kind::kSequence, .line = line_of(mark)}, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open({.kind = YamlNode::Kind::kMap, .line = line_of(mark)}, anchor);
  }
  void OnMapEnd() override { close(); }

  const std::string& error() const { return error_; }
  uint32_t error_line() const { return error_line_; }
  YamlNode take_root() { return std::move(root_); }

 private:
  struct Open {
    YamlNode node;
    YAML::anchor_t anchor = YAML::NullAnchor;
    bool has_key = false;
    YamlField pending;
  };
  struct Anchor {
    YamlNode node;
    size_t nodes = 0;
    size_t depth = 0;
  };

  static std::string nesting_error() { return str_cat("nesting deeper than ", kMaxNesting, " levels"); }
  uint32_t line_of(const YAML::Mark& mark) const { return first_line_ + static_cast<uint32_t>(mark.line); }

  void fail(std::string message, uint32_t line) {
    if (!error_.empty()) return;
    error_ = std::move(message);
    error_line_ = line;
    open_.clear();
  }

  void add(YamlNode node, YAML::anchor_t anchor) {
    if (!error_.empty()) return;
    if (++nodes_ > kMaxNodes) return fail(str_cat("more than ", kMaxNodes, " nodes"), node.line);
    remember(anchor, node);
    place(std::move(node));
  }

  void open(YamlNode node, YAML::anchor_t anchor) {
    if (!error_.empty()) return;
    if (++nodes_ > kMaxNodes) return fail(str_cat("more than ", kMaxNodes, " nodes"), node.line);
    if (open_.size() >= kMaxNesting) return fail(nesting_error(), node.line);
    open_.push_back({.node = std::move(node), .anchor = anchor});
  }

  void close() {
    if (!error_.empty()) return;
    Open done = std::move(open_.back());
    open_.pop_back();
    remember(done.anchor, done.node);
    place(std::move(done.node));
  }

  void remember(YAML::anchor_t anchor, const YamlNode& node) {
    if (anchor == YAML::NullAnchor) return;
    // A copy per anchor: nested anchors would otherwise cost depth times size, so copies count as nodes as
    // well.
    const size_t size = count_nodes(node);
    nodes_ += size;
    if (nodes_ > kMaxNodes) return fail(str_cat("more than ", kMaxNodes, " nodes"), node.line);
    anchors_[anchor] = {.node = node, .nodes = size, .depth = depth_of(node)};
  }

  void place(YamlNode node) {
    if (!error_.empty()) return;
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    Open& parent = open_.back();
    if (parent.node.kind == YamlNode::Kind::kSequence) {
      parent.node.items.push_back(std::move(node));
      return;
    }
    if (parent.has_key) {
      parent.pending.value = std::move(node);
      parent.node.fields.push_back(std::move(parent.pending));
      parent.pending = {};
      parent.has_key = false;
      return;
    }
    if (node.kind != YamlNode::Kind::kScalar) return fail("a field name that is not text", node.line);
    parent.pending.name = std::move(node.scalar);
    parent.pending.line = node.line;
    parent.has_key = true;
  }

  const uint32_t first_line_;
  size_t nodes_ = 0;
  std::vector<Open> open_;
  std::map<YAML::anchor_t, Anchor> anchors_;
  YamlNode root_;
  std::string error_;
  uint32_t error_line_ = 0;
};

struct Chunk {
  uint32_t line = 1;
  std::string_view text;
};

// YAML 1.2 §9.1.2: "---" in column 0 followed by white space or the end always starts a document.
bool is_marker(std::string_view line) {
  return line.substr(0, 3) == "---" &&
         (line.size() == 3 || line[3] == ' ' || line[3] == '\t' || line[3] == '\r');
}

bool says_something(std::string_view chunk) {
  bool line_start = true, skip = false;
  for (char c : chunk) {
    if (c == '\n') {
      line_start = true;
      skip = false;
    } else if (!skip) {
      if (c == '#' || (c == '%' && line_start)) {
        skip = true;
      } else if (c != ' ' && c != '\t' && c != '\r') {
        return true;
      }
      line_start = false;
    }
  }
  return false;
}

std::vector<Chunk> cut(std::string_view text) {
  std::vector<Chunk> chunks;
  if (text.substr(0, 3) == "\xEF\xBB\xBF") text.remove_prefix(3);
  Chunk current;
  size_t begin = 0;
  uint32_t line = 1;
  for (size_t at = 0; at < text.size(); ++line) {
    size_t end = text.find('\n', at);
    if (end == std::string_view::npos) end = text.size();
    if (is_marker(text.substr(at, end - at))) {
      current.text = text.substr(begin, at - begin);
      chunks.push_back(current);
      // What follows the marker on its line belongs to the document.
      begin = at + 3;
      current.line = line;
    }
    at = end + 1;
  }
  current.text = text.substr(begin);
  chunks.push_back(current);
  return chunks;
}

YamlDocument parse_chunk(const Chunk& chunk) {
  YamlDocument document;
  document.line = chunk.line;
  if (chunk.text.size() > kMaxDocumentBytes) {
    document.error = str_cat("a document of ", chunk.text.size(), " bytes; the limit is ", kMaxDocumentBytes);
    document.error_line = chunk.line;
    document.over_limit = true;
    return document;
  }
  TreeBuilder builder(chunk.line);
  std::istringstream stream{std::string(chunk.text)};
  try {
    YAML::Parser parser(stream);
    parser.HandleNextDocument(builder);
    // "..." may end a document before its chunk ends; what follows must not be ignored in silence.
    TreeBuilder rest(chunk.line);
    if (parser.HandleNextDocument(rest)) {
      document.error = "a second document that does not begin with ---";
      document.error_line = rest.take_root().line;
      return document;
    }
  } catch (const YAML::Exception& e) {
    document.error = e.msg;
    document.error_line = chunk.line + static_cast<uint32_t>(std::max(e.mark.line, 0));
    return document;
  }
  document.error = builder.error();
  document.error_line = builder.error_line();
  document.over_limit = !document.error.empty();
  if (document.error.empty()) document.root = builder.take_root();
  if (document.root.kind == YamlNode::Kind::kMap && document.root.line > 0)
    document.line = document.root.line;
  return document;
}

}  // namespace

const YamlNode* YamlNode::find(std::string_view name) const {
  for (const YamlField& field : fields) {
    if (field.name == name) return &field.value;
  }
  return nullptr;
}

std::vector<YamlDocument> parse_yaml(std::string_view text) {
  std::vector<YamlDocument> documents;
  for (const Chunk& chunk : cut(text)) {
    if (!says_something(chunk.text)) continue;
    documents.push_back(parse_chunk(chunk));
  }
  return documents;
}

void shift_lines(uint32_t by, YamlNode* node) {
  if (node->line > 0) node->line += by;
  for (YamlNode& item : node->items) shift_lines(by, &item);
  for (YamlField& field : node->fields) {
    field.line += by;
    shift_lines(by, &field.value);
  }
}

}  // namespace weft::control_plane
