// See yaml_document.h.
#include "control-plane/resource/yaml_document.h"

#include <yaml.h>

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <utility>

#include "base/courtesy.h"
#include "base/strings.h"
#include "control-plane/resource/simple_yaml.h"
#include "control-plane/resource/yaml_events.h"

namespace weft::control_plane {
namespace {

// Some ten microseconds.
constexpr uint32_t kEventsAPiece = 64;

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

std::string_view text_of(const yaml_char_t* text) {
  return text == nullptr ? std::string_view() : reinterpret_cast<const char*>(text);
}

YamlNode scalar_of(const yaml_event_t& event, uint32_t line) {
  const auto& scalar = event.data.scalar;
  const std::string_view text(reinterpret_cast<const char*>(scalar.value), scalar.length);
  const bool plain = scalar.style == YAML_PLAIN_SCALAR_STYLE && scalar.tag == nullptr;
  if (plain && is_null_text(text)) return {.kind = YamlNode::Kind::kNull, .line = line};
  YamlNode out{.kind = YamlNode::Kind::kScalar, .plain = plain, .line = line};
  out.scalar = text;
  return out;
}

// Builds the tree from events, up to the first broken limit.
class TreeBuilder {
 public:
  // False: it is complete, or there is an error.
  bool take(const yaml_event_t& event, uint32_t line) {
    switch (event.type) {
      case YAML_ALIAS_EVENT:
        alias(text_of(event.data.alias.anchor), line);
        break;
      case YAML_SCALAR_EVENT:
        add(scalar_of(event, line), text_of(event.data.scalar.anchor));
        break;
      case YAML_SEQUENCE_START_EVENT:
        open({.kind = YamlNode::Kind::kSequence, .line = line}, text_of(event.data.sequence_start.anchor));
        break;
      case YAML_MAPPING_START_EVENT:
        open({.kind = YamlNode::Kind::kMap, .line = line}, text_of(event.data.mapping_start.anchor));
        break;
      case YAML_SEQUENCE_END_EVENT:
      case YAML_MAPPING_END_EVENT:
        close();
        break;
      case YAML_DOCUMENT_END_EVENT:
        return false;
      default:
        break;
    }
    return error_.empty();
  }

  const std::string& error() const { return error_; }
  uint32_t error_line() const { return error_line_; }
  YamlNode take_root() { return std::move(root_); }

 private:
  struct Open {
    YamlNode node;
    std::string anchor;  // empty: none
    bool has_key = false;
    YamlField pending;
  };
  struct Anchor {
    YamlNode node;
    size_t nodes = 0;
    size_t depth = 0;
  };

  static std::string nesting_error() { return str_cat("nesting deeper than ", kMaxNesting, " levels"); }

  void alias(std::string_view name, uint32_t line) {
    const auto found = anchors_.find(name);
    if (found == anchors_.end()) {
      const bool open = std::any_of(open_.begin(), open_.end(),
                                    [name](const Open& around) { return around.anchor == name; });
      return fail(open ? std::string("an alias that refers to itself")
                       : str_cat("an alias of \"", std::string(name.substr(0, 64)),
                                 "\", which is no anchor above it"),
                  line);
    }
    if (nodes_ + found->second.nodes > kMaxNodes)
      return fail(str_cat("aliases that expand to more than ", kMaxNodes, " nodes"), line);
    if (open_.size() + found->second.depth > kMaxNesting) return fail(nesting_error(), line);
    nodes_ += found->second.nodes;
    place(found->second.node);
  }

  void fail(std::string message, uint32_t line) {
    if (!error_.empty()) return;
    error_ = std::move(message);
    error_line_ = line;
    open_.clear();
  }

  void add(YamlNode node, std::string_view anchor) {
    if (!error_.empty()) return;
    if (++nodes_ > kMaxNodes) return fail(str_cat("more than ", kMaxNodes, " nodes"), node.line);
    remember(anchor, node);
    place(std::move(node));
  }

  void open(YamlNode node, std::string_view anchor) {
    if (!error_.empty()) return;
    if (++nodes_ > kMaxNodes) return fail(str_cat("more than ", kMaxNodes, " nodes"), node.line);
    if (open_.size() >= kMaxNesting) return fail(nesting_error(), node.line);
    open_.push_back(
        {.node = std::move(node), .anchor = std::string(anchor), .has_key = false, .pending = {}});
  }

  void close() {
    if (!error_.empty()) return;
    Open done = std::move(open_.back());
    open_.pop_back();
    remember(done.anchor, done.node);
    place(std::move(done.node));
  }

  void remember(std::string_view anchor, const YamlNode& node) {
    if (anchor.empty()) return;
    // A copy per anchor: nested anchors would otherwise cost depth times size, so copies count as nodes as
    // well.
    const size_t size = count_nodes(node);
    nodes_ += size;
    if (nodes_ > kMaxNodes) return fail(str_cat("more than ", kMaxNodes, " nodes"), node.line);
    anchors_.insert_or_assign(std::string(anchor),
                              Anchor{.node = node, .nodes = size, .depth = depth_of(node)});
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

  size_t nodes_ = 0;
  std::vector<Open> open_;
  std::map<std::string, Anchor, std::less<>> anchors_;
  YamlNode root_;
  std::string error_;
  uint32_t error_line_ = 0;
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

// What a document calls itself, of one that is too large to be built: no more than these texts are kept.
class NameReader {
 public:
  // False: nothing more is to be had.
  bool take(const yaml_event_t& event, uint32_t line) {
    switch (event.type) {
      case YAML_SCALAR_EVENT: {
        const auto& scalar = event.data.scalar;
        node(std::string_view(reinterpret_cast<const char*>(scalar.value), scalar.length), line);
        return true;
      }
      case YAML_ALIAS_EVENT:
        node("", line);
        return true;
      case YAML_MAPPING_START_EVENT:
      case YAML_SEQUENCE_START_EVENT:
        return open(event.type == YAML_MAPPING_START_EVENT, line);
      case YAML_MAPPING_END_EVENT:
      case YAML_SEQUENCE_END_EVENT:
        if (--depth_ <= (in_metadata_ ? 1u : 0u)) in_metadata_ = false;
        return depth_ > 0;
      default:
        return event.type != YAML_DOCUMENT_END_EVENT;
    }
  }

  YamlNode take_root() {
    if (!metadata_.fields.empty())
      root_.fields.push_back({.name = "metadata", .line = metadata_.line, .value = std::move(metadata_)});
    return std::move(root_);
  }

 private:
  static constexpr size_t kLongest = 1024;

  // Whether what comes is a field of the document, or of its metadata.
  bool named_here() const { return depth_ == 1 || (in_metadata_ && depth_ == 2); }

  bool open(bool map, uint32_t line) {
    // What libyaml does for each level of flow nesting grows with the levels.
    if (depth_ >= kMaxNesting) return false;
    if (depth_ == 0) {
      if (!map) return false;
      root_.kind = YamlNode::Kind::kMap;
      root_.line = line;
    } else if (depth_ == 1 && has_key_ && key_ == "metadata" && map) {
      in_metadata_ = true;
      metadata_ = {.kind = YamlNode::Kind::kMap, .line = line};
    }
    if (named_here()) has_key_ = false;
    ++depth_;
    return true;
  }

  void node(std::string_view text, uint32_t line) {
    if (!named_here()) return;
    if (!std::exchange(has_key_, !has_key_)) {
      key_ = text.substr(0, kLongest);
      return;
    }
    const bool wanted =
        depth_ == 1 ? key_ == "kind" || key_ == "apiVersion" : key_ == "name" || key_ == "namespace";
    if (!wanted || text.size() > kLongest) return;
    YamlNode value{.kind = YamlNode::Kind::kScalar, .line = line};
    value.scalar = text;
    YamlNode& to = depth_ == 1 ? root_ : metadata_;
    to.fields.push_back({.name = key_, .line = line, .value = std::move(value)});
  }

  YamlNode root_, metadata_;
  size_t depth_ = 0;
  bool in_metadata_ = false;
  bool has_key_ = false;
  std::string key_;
};

YamlNode name_of(const YamlChunk& chunk) {
  YamlEvents events(chunk.text, chunk.line);
  NameReader reader;
  while (events.next() && reader.take(events.event(), events.line())) {
  }
  return reader.take_root();
}

YamlDocument refused(const YamlChunk& chunk, std::string error, uint32_t line) {
  YamlDocument document;
  document.line = chunk.line;
  document.root = name_of(chunk);
  document.error = std::move(error);
  document.error_line = line;
  document.over_limit = true;
  return document;
}

}  // namespace

bool is_null_text(std::string_view text) {
  return text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL";
}

const YamlNode* YamlNode::find(std::string_view name) const {
  for (const YamlField& field : fields) {
    if (field.name == name) return &field.value;
  }
  return nullptr;
}

std::vector<YamlChunk> cut_documents(std::string_view text) {
  std::vector<YamlChunk> chunks;
  const auto add = [&chunks](uint32_t line, std::string_view chunk) {
    if (says_something(chunk)) chunks.push_back({.line = line, .text = chunk});
  };
  if (text.substr(0, 3) == "\xEF\xBB\xBF") text.remove_prefix(3);
  uint32_t first = 1, line = 1;
  size_t begin = 0;
  for (size_t at = 0; at < text.size(); ++line) {
    const size_t end = std::min(text.find('\n', at), text.size());
    if (is_marker(text.substr(at, end - at))) {
      add(first, text.substr(begin, at - begin));
      // What follows the marker on its line belongs to the document.
      begin = at + 3;
      first = line;
    }
    at = end + 1;
  }
  add(first, text.substr(begin));
  return chunks;
}

namespace {

void take_root(YamlNode root, YamlDocument& document) {
  document.root = std::move(root);
  if (document.root.kind == YamlNode::Kind::kMap && document.root.line > 0)
    document.line = document.root.line;
}

}  // namespace

YamlDocument parse_document(const YamlChunk& chunk) {
  if (chunk.text.size() > kMaxDocumentBytes) return parse_any_document(chunk);
  // The tree takes several times as much as its text.
  auto memory =
      std::make_unique<std::pmr::monotonic_buffer_resource>(std::max<size_t>(4 * chunk.text.size(), 1024));
  std::optional<YamlNode> root = read_simple_yaml(chunk, memory.get());
  if (!root) return parse_any_document(chunk);
  YamlDocument document;
  document.memory = std::move(memory);
  document.line = chunk.line;
  take_root(*std::move(root), document);
  return document;
}

YamlDocument parse_any_document(const YamlChunk& chunk) {
  if (chunk.text.size() > kMaxDocumentBytes) {
    return refused(chunk,
                   str_cat("a document of ", chunk.text.size(), " bytes; the limit is ", kMaxDocumentBytes),
                   chunk.line);
  }
  YamlDocument document;
  document.line = chunk.line;
  YamlEvents events(chunk.text, chunk.line);
  TreeBuilder builder;
  bool complete = false;
  for (uint32_t count = 0; !complete && events.next(); ++count) {
    complete = !builder.take(events.event(), events.line());
    if (count % kEventsAPiece == 0) give_way();
  }
  if (!builder.error().empty()) return refused(chunk, builder.error(), builder.error_line());
  document.error = events.error();
  // "..." may end a document before its chunk ends; what follows must not be ignored in silence.
  if (complete && (events.next() || !events.error().empty()))
    document.error = "a second document that does not begin with ---";
  if (!document.error.empty()) {
    document.error_line = events.error().empty() ? events.line() : events.error_line();
    return document;
  }
  take_root(builder.take_root(), document);
  return document;
}

std::vector<YamlDocument> parse_yaml(std::string_view text) {
  std::vector<YamlDocument> documents;
  for (const YamlChunk& chunk : cut_documents(text)) documents.push_back(parse_document(chunk));
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
