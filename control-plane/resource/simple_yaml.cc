// See simple_yaml.h. A recursive descent that stands, between two values, at the first letter of the next
// one, and knows the column of it. Each method returns false where it gives up.
#include "control-plane/resource/simple_yaml.h"

#include <array>
#include <string_view>
#include <utility>

#include "base/courtesy.h"

namespace weft::control_plane {
namespace {

// Well below the 1024 that YAML 1.2 §7.4 has for a key.
constexpr ptrdiff_t kLongestKey = 1000;
// Fewer than yaml_document.h allows: whoever comes near a limit is judged by libyaml.
constexpr uint32_t kDeepest = kMaxNesting - 2;
constexpr size_t kMostNodes = kMaxNodes / 2;
// Some ten microseconds.
constexpr size_t kNodesAPiece = 256;
constexpr int kNoColumn = -1;
// Room for more than most maps need: to make it anew costs more than to have too much.
constexpr size_t kUsualFields = 4;

enum Letter : uint8_t {
  kPlain,   // of a plain scalar, wherever it stands in it
  kMaybe,   // depends on what is beside it, or on where it is
  kForeign  // never read here
};

constexpr std::array<Letter, 256> make_letters() {
  std::array<Letter, 256> out{};
  for (size_t c = 0; c < out.size(); ++c) out[c] = c < 0x20 || c >= 0x7f ? kForeign : kPlain;
  for (const char c : {'\n', ' ', ':', '#', ',', '[', ']', '{', '}', '?'})
    out[static_cast<unsigned char>(c)] = kMaybe;
  return out;
}
constexpr std::array<Letter, 256> kLetters = make_letters();

Letter letter_of(char c) { return kLetters[static_cast<unsigned char>(c)]; }

bool is_flow_indicator(char c) { return c == ',' || c == '[' || c == ']' || c == '{' || c == '}'; }

class SimpleReader {
 public:
  SimpleReader(const YamlChunk& chunk, std::pmr::memory_resource* memory)
      : memory_(memory),
        at_(chunk.text.data()),
        end_(at_ + chunk.text.size()),
        line_start_(at_),
        line_(chunk.line) {}

  std::optional<YamlNode> read() {
    YamlNode root = node();
    if (!next_token() || at_ == end_ || !block(root) || at_ != end_) return std::nullopt;
    return root;
  }

 private:
  // Of a scalar that has been read.
  struct Scalar {
    std::string_view text;
    bool plain = false;
    const char* begin = nullptr;  // its first letter, or its quote
  };

  YamlNode node() const {
    return {.items = std::pmr::vector<YamlNode>(memory_), .fields = std::pmr::vector<YamlField>(memory_)};
  }
  YamlField& add_field(const Scalar& key, YamlNode& map) const {
    return map.fields.emplace_back(YamlField{.name = std::string(key.text), .line = line_, .value = node()});
  }

  // What stands at a place; '\n' where the text ends.
  char look(ptrdiff_t ahead = 0) const { return end_ - at_ > ahead ? at_[ahead] : '\n'; }
  bool is_blank(ptrdiff_t ahead) const { return look(ahead) == ' ' || look(ahead) == '\n'; }
  bool is_entry() const { return look() == '-' && is_blank(1); }
  bool is_colon() const { return look() == ':' && is_blank(1); }
  bool take(char c) {
    if (look() != c) return false;
    ++at_;
    return true;
  }
  void skip_spaces() {
    while (look() == ' ') ++at_;
  }

  bool count_node() {
    if (++nodes_ % kNodesAPiece == 0) give_way();
    return nodes_ <= kMostNodes;
  }

  // The rest of a comment, of any letters that are ASCII.
  bool skip_comment() {
    for (; look() != '\n'; ++at_) {
      if (letter_of(*at_) == kForeign) return false;
    }
    return true;
  }

  // From the beginning of a line, or of the text: to the first letter that is no comment, on this line or a
  // later one.
  bool next_token() {
    while (true) {
      skip_spaces();
      if (look() == '#' && !skip_comment()) return false;
      if (at_ == end_) {
        column_ = kNoColumn;
        return true;
      }
      if (*at_ != '\n') break;
      line_start_ = ++at_;
      ++line_;
    }
    column_ = static_cast<int>(at_ - line_start_);
    return column_ > 0 || !is_marker();
  }

  // "---", "...", "%YAML".
  bool is_marker() const {
    const std::string_view rest(at_, static_cast<size_t>(end_ - at_));
    return rest.starts_with("---") || rest.starts_with("...") || rest.starts_with("%");
  }

  // True where nothing but a comment is left of the line.
  bool at_line_end() const {
    return look() == '\n' || (look() == '#' && (at_ == line_start_ || at_[-1] == ' '));
  }

  // Behind a value: to the next one.
  bool end_line() {
    skip_spaces();
    return at_line_end() && next_token();
  }

  // At its first letter. Behind its last one afterwards.
  bool scalar(bool flow, Scalar& out) {
    const char first = look();
    if (first == '"' || first == '\'') return quoted(first, out);
    constexpr std::string_view kIndicators = "?:,[]{}#&*!|>%@`\n ";
    if (kIndicators.find(first) != std::string_view::npos) return false;
    if (first == '-' && (is_blank(1) || (flow && is_flow_indicator(look(1))))) return false;
    return plain(flow, out);
  }

  // On one line, and without anything that stands for something else.
  bool quoted(char quote, Scalar& out) {
    const char* const begin = ++at_;
    for (; look() != quote; ++at_) {
      if (look() == '\n' || letter_of(*at_) == kForeign || (quote == '"' && *at_ == '\\')) return false;
    }
    out = {std::string_view(begin, static_cast<size_t>(at_ - begin)), false, begin - 1};
    ++at_;
    return look() != quote;
  }

  bool plain(bool flow, Scalar& out) {
    const char* const begin = at_;
    const char* last = at_;
    for (; at_ != end_; ++at_) {
      const char c = *at_;
      if (letter_of(c) == kForeign) return false;
      if (letter_of(c) == kMaybe) {
        if (c == '\n' || is_colon() || (c == '#' && at_[-1] == ' ')) break;
        if (c == ' ') continue;
        if (flow && is_flow_indicator(c)) break;
        if (flow && (c == '?' || (c == ':' && is_flow_indicator(look(1))))) return false;
      }
      last = at_;
    }
    out = {std::string_view(begin, static_cast<size_t>(last + 1 - begin)), true, begin};
    return true;
  }

  bool put_scalar(const Scalar& scalar, YamlNode& out) {
    out.line = line_;
    if (scalar.plain && is_null_text(scalar.text)) return count_node();
    out.kind = YamlNode::Kind::kScalar;
    out.plain = scalar.plain;
    out.scalar = scalar.text;
    return count_node();
  }

  // At its colon: libyaml bounds what stands from a key's begin to there, blanks and quotes too.
  bool is_key(const Scalar& scalar) const {
    return at_ - scalar.begin <= kLongestKey && !(scalar.plain && is_null_text(scalar.text));
  }

  // What follows is a value of more columns than those around it.
  bool block(YamlNode& out) {
    if (is_entry()) return nested([&] { return sequence(out); });
    if (look() == '{' || look() == '[') return flow(out) && end_line();
    Scalar first;
    if (!scalar(false, first)) return false;
    skip_spaces();
    if (is_colon()) return nested([&] { return map(first, out); });
    return put_scalar(first, out) && end_line();
  }

  template <typename Read>
  bool nested(Read read) {
    if (++depth_ > kDeepest || !read()) return false;
    --depth_;
    return true;
  }

  // Behind its first key.
  bool map(Scalar key, YamlNode& out) {
    const int column = column_;
    out.kind = YamlNode::Kind::kMap;
    out.line = line_;
    out.fields.reserve(kUsualFields);
    if (!count_node()) return false;
    while (true) {
      if (!is_key(key)) return false;
      YamlField& field = add_field(key, out);
      ++at_;
      if (!count_node() || !value(column, field.value)) return false;
      if (column_ < column) return true;
      if (column_ > column || is_entry() || !scalar(false, key)) return false;
      skip_spaces();
      if (!is_colon()) return false;
    }
  }

  // Behind the colon of a key that stands at `column`.
  bool value(int column, YamlNode& out) {
    out.line = line_;
    skip_spaces();
    if (at_line_end()) {
      if (!next_token()) return false;
      if (column_ > column) return block(out);
      if (column_ == column && is_entry()) return nested([&] { return sequence(out); });
      return count_node();
    }
    if (look() == '{' || look() == '[') return flow(out) && end_line();
    Scalar text;
    return scalar(false, text) && put_scalar(text, out) && end_line();
  }

  // At its first "-".
  bool sequence(YamlNode& out) {
    const int column = column_;
    out.kind = YamlNode::Kind::kSequence;
    out.line = line_;
    if (!count_node()) return false;
    while (true) {
      YamlNode& item = out.items.emplace_back(node());
      item.line = line_;
      ++at_;
      skip_spaces();
      if (!at_line_end()) {
        column_ = static_cast<int>(at_ - line_start_);
        if (!block(item)) return false;
      } else if (!next_token() || !(column_ > column ? block(item) : count_node())) {
        return false;
      }
      if (column_ < column) return true;
      if (column_ > column) return false;
      // Where the sequence stands at the column of its key, the next key may come.
      if (!is_entry()) return true;
    }
  }

  bool flow(YamlNode& out) {
    out.line = line_;
    const bool is_map = *at_++ == '{';
    out.kind = is_map ? YamlNode::Kind::kMap : YamlNode::Kind::kSequence;
    if (!count_node()) return false;
    return nested([&] { return is_map ? flow_map(out) : flow_sequence(out); });
  }

  bool flow_value(YamlNode& out) {
    if (look() == '{' || look() == '[') return flow(out);
    Scalar text;
    return scalar(true, text) && put_scalar(text, out);
  }

  // Behind the opening brace, as flow_sequence() is.
  bool flow_map(YamlNode& out) {
    skip_spaces();
    if (take('}')) return true;
    out.fields.reserve(kUsualFields / 2);
    while (true) {
      Scalar key;
      if (!scalar(true, key)) return false;
      skip_spaces();
      if (!is_colon() || !is_key(key)) return false;
      ++at_;
      skip_spaces();
      YamlField& field = add_field(key, out);
      if (!count_node() || !flow_value(field.value)) return false;
      skip_spaces();
      if (take('}')) return true;
      if (!take(',')) return false;
      skip_spaces();
    }
  }

  bool flow_sequence(YamlNode& out) {
    skip_spaces();
    if (take(']')) return true;
    while (true) {
      if (!flow_value(out.items.emplace_back(node()))) return false;
      skip_spaces();
      if (take(']')) return true;
      if (!take(',')) return false;
      skip_spaces();
    }
  }

  std::pmr::memory_resource* const memory_;
  const char* at_;
  const char* const end_;
  const char* line_start_;
  uint32_t line_;
  // Of the token at `at_` where a line, or an item, begins with it; kNoColumn at the end of the text.
  int column_ = kNoColumn;
  uint32_t depth_ = 0;
  size_t nodes_ = 0;
};

}  // namespace

std::optional<YamlNode> read_simple_yaml(const YamlChunk& chunk, std::pmr::memory_resource* memory) {
  return SimpleReader(chunk, memory).read();
}

}  // namespace weft::control_plane
