// See json_tree.h. nlohmann's SAX interface: nothing is built that is not kept.
#include "control-plane/kubernetes/json_tree.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "base/strings.h"

namespace weft::control_plane {
namespace {

class TreeBuilder final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit TreeBuilder(std::span<const std::string_view> left_out) : left_out_(left_out) {}

  bool null() override { return add({.kind = YamlNode::Kind::kNull}); }
  bool boolean(bool value) override { return plain(value ? "true" : "false"); }
  bool number_integer(number_integer_t value) override { return plain(str_cat(value)); }
  bool number_unsigned(number_unsigned_t value) override { return plain(str_cat(value)); }
  bool number_float(number_float_t, const string_t& text) override { return plain(text); }
  bool string(string_t& value) override {
    return add({.kind = YamlNode::Kind::kScalar, .scalar = std::move(value)});
  }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(YamlNode::Kind::kMap); }
  bool start_array(std::size_t) override { return open(YamlNode::Kind::kSequence); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& name) override {
    if (skipped_ == 0) open_.back().key = std::move(name);
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    error_ = absl::InvalidArgumentError(str_cat("no JSON at byte ", position));
    return false;
  }

  absl::Status error() const { return error_; }
  YamlNode take() { return std::move(root_); }

 private:
  struct Open {
    YamlNode node;
    std::string key;     // of the field whose value comes next
    size_t path_length;  // of path_ before this node
  };

  bool plain(std::string text) {
    return add({.kind = YamlNode::Kind::kScalar, .plain = true, .scalar = std::move(text)});
  }

  // The field whose value comes next is one that is left out.
  bool unwanted() const {
    if (open_.empty() || open_.back().node.kind != YamlNode::Kind::kMap) return false;
    const std::string& key = open_.back().key;
    return std::any_of(left_out_.begin(), left_out_.end(), [&](std::string_view path) {
      if (path_.empty()) return path == key;
      return path.size() == path_.size() + 1 + key.size() && path.starts_with(path_) &&
             path[path_.size()] == '.' && path.ends_with(key);
    });
  }

  bool counted() {
    if (++nodes_ <= kMaxNodes) return true;
    error_ = absl::ResourceExhaustedError(str_cat("more than ", kMaxNodes, " values"));
    return false;
  }

  bool add(YamlNode node) {
    if (skipped_ > 0 || unwanted()) return true;
    return counted() && place(std::move(node));
  }

  bool open(YamlNode::Kind kind) {
    if (++depth_ > kMaxNesting) {
      error_ = absl::ResourceExhaustedError(str_cat("nesting deeper than ", kMaxNesting, " levels"));
      return false;
    }
    if (skipped_ > 0 || unwanted()) {
      ++skipped_;
      return true;
    }
    if (!counted()) return false;
    const size_t length = path_.size();
    if (!open_.empty() && open_.back().node.kind == YamlNode::Kind::kMap)
      str_append(&path_, path_.empty() ? "" : ".", open_.back().key);
    open_.push_back({.node = {.kind = kind}, .key = {}, .path_length = length});
    return true;
  }

  bool close() {
    --depth_;
    if (skipped_ > 0) {
      --skipped_;
      return true;
    }
    Open done = std::move(open_.back());
    open_.pop_back();
    path_.resize(done.path_length);
    return place(std::move(done.node));
  }

  bool place(YamlNode node) {
    if (open_.empty()) {
      root_ = std::move(node);
      return true;
    }
    Open& parent = open_.back();
    if (parent.node.kind == YamlNode::Kind::kSequence)
      parent.node.items.push_back(std::move(node));
    else
      parent.node.fields.push_back({.name = std::move(parent.key), .line = 0, .value = std::move(node)});
    return true;
  }

  const std::span<const std::string_view> left_out_;
  std::vector<Open> open_;
  std::string path_;
  size_t nodes_ = 0;
  uint32_t depth_ = 0;
  uint32_t skipped_ = 0;  // open brackets inside a field that is left out
  YamlNode root_;
  absl::Status error_;
};

void mix(std::string_view bytes, uint64_t& hash) {
  for (const unsigned char c : bytes) hash = (hash ^ c) * 0x100000001b3;
  // Ends each piece, so that "ab" and "c" are not "a" and "bc".
  hash = (hash ^ 0x100) * 0x100000001b3;
}

void mix(const YamlNode& node, uint64_t& hash) {
  hash = (hash ^ static_cast<uint64_t>(node.kind) ^ (node.plain ? 0x80 : 0)) * 0x100000001b3;
  mix(node.scalar, hash);
  for (const YamlNode& item : node.items) mix(item, hash);
  for (const YamlField& field : node.fields) {
    mix(field.name, hash);
    mix(field.value, hash);
  }
  hash = (hash ^ 0x200) * 0x100000001b3;
}

}  // namespace

absl::StatusOr<YamlNode> parse_json(std::string_view text, std::span<const std::string_view> left_out) {
  if (text.size() > kMaxObjectBytes)
    return absl::ResourceExhaustedError(
        str_cat("an object of ", text.size(), " bytes; the limit is ", kMaxObjectBytes));
  TreeBuilder builder(left_out);
  const bool understood = nlohmann::json::sax_parse(text.begin(), text.end(), &builder);
  if (understood) return builder.take();
  return builder.error().ok() ? absl::InvalidArgumentError("no JSON") : builder.error();
}

std::string_view json_text(const YamlNode& root, std::string_view path) {
  const YamlNode* node = &root;
  while (node != nullptr && !path.empty()) {
    const size_t dot = std::min(path.find('.'), path.size());
    node = node->find(path.substr(0, dot));
    path.remove_prefix(std::min(dot + 1, path.size()));
  }
  return node == nullptr ? std::string_view() : std::string_view(node->scalar);
}

uint64_t digest_of(const YamlNode& node) {
  uint64_t hash = 0xcbf29ce484222325;
  mix(node, hash);
  return hash;
}

}  // namespace weft::control_plane
