// The short cut for simple YAML says what libyaml says, or nothing: by texts of each kind, and by thousands
// that are made at random and then damaged.
#include "control-plane/resource/simple_yaml.h"

#include <gtest/gtest.h>

#include <optional>
#include <random>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/strings.h"

namespace weft::control_plane {
namespace {

// All that a tree holds, in one text.
void describe(const YamlNode& node, std::string* out) {
  str_append(out, static_cast<int>(node.kind), node.plain ? "p" : "", "@", node.line, "\"", node.scalar,
             "\"");
  for (const YamlNode& item : node.items) {
    out->push_back('-');
    describe(item, out);
  }
  for (const YamlField& field : node.fields) {
    str_append(out, "+", field.line, field.name, ":");
    describe(field.value, out);
  }
  out->push_back(';');
}

std::string described(const YamlNode& node) {
  std::string out;
  describe(node, &out);
  return out;
}

// Whether the text is simple. Where it is, libyaml has no other tree and no objection.
bool is_simple(std::string_view text) {
  const YamlChunk chunk{.line = 7, .text = text};
  std::pmr::monotonic_buffer_resource memory;
  const std::optional<YamlNode> simple = read_simple_yaml(chunk, &memory);
  if (!simple) return false;
  const YamlDocument document = parse_any_document(chunk);
  EXPECT_EQ(document.error, "") << text;
  EXPECT_EQ(described(*simple), described(document.root)) << text;
  return true;
}

TEST(SimpleYamlTest, ManifestsAreSimple) {
  for (const std::string_view text : {
           "a: b\n",
           "a: b",
           "\n\n# comment\na: b # more\n\n\n",
           "  a: b\n  c: d\n",
           "a:\n  b: 1\n  c:\n    d: x y z\n  e: true\nf: -1.5\n",
           "a:\n- b\n- c: 1\n  d: 2\n-\n- e\nf: g\n",
           "a:\n  - b\n  -   - c\n      - d\n    # comment\n  -\n",
           "a:\n  -\n    b: c\n  - # comment\n    d\n",
           "- a: 1\n- b: 2\n- {c: d}\n- [e, f]\n- \n",
           "a: {b: c, d: {e: [f, g, {h: \"i\"}]}, j: {}, k: [ ]} # comment\nl: m\n",
           "a: \"b: c # d, {e}\"\n'f g' : 'h \"i\"'\n\"j\": ''\n",
           "a:\nb: ~\nc: null\nd:   \ne: # nothing\nf: Null\n",
           "url: http://a.b:80/c?d=[e]{f}#g\ntime: 12:30\nminus: -x\nword: a-b_c*d&e!f|g>h%i@j`k\n",
           "flow: {uri: {prefix: /item-7/, exact: a:b}, weight: 50}\n",
           "[a, {b: c}]\n",
           "a",
           "a: #b\n c",
           "{\"a\": \"b\"}\n",
           "a: x\ta",
       }) {
    // A tab is the one of them that is not.
    EXPECT_EQ(is_simple(text), text.find('\t') == std::string_view::npos) << text;
  }
}

TEST(SimpleYamlTest, WhatMeansMoreOrMayBeWrongIsLeftToLibyaml) {
  for (const std::string_view text : {
           "",  // nothing
           "a: b\n c",
           "a: b\n  c: d\n",
           "- a\n  b\n",  // goes on, or is wrong
           "a: b: c\n",
           "a: - b\n",
           "a:\n b\n c\n",  //
           "a: |\n  b\n",
           "a: >\n  b\n",
           "? a\n: b\n",  // other styles
           "a: &x b\n",
           "a: *x\n",
           "a: !!str b\n",  // what stands for something else
           "a: \"b\\n\"\n",
           "a: 'b''c'\n",
           "a: \"b\n c\"\n",
           "a: {b, c}\n",
           "a: {b: }\n",
           "a: [b,\n c]\n",
           "a: [b,]\n",
           "a: [b: c]\n",
           "a: {\"b\":c}\n",
           "a: [b\n",
           "a: {b: c}}\n",
           "a: [b] c\n",
           "{a: b}: c\n",
           "a: [b]#c\n",
           "a: \"b\"#c\n",
           "a: b\n- c\n",
           "- a\nb: c\n",
           "- a\n - b\n",
           "  a: b\nc: d\n",
           "a: b\r\n",
           "a:\tb\n",
           "a: \xC3\xA9\n",
           "# \xC3\xA9\na: b\n",
           "%YAML 1.2\na: b",
           "a: b\n...\n",
           "--- a\n",
           "~: a\n",
           "null: a\n",
           ": a\n",
           "a: %b\n",
           "a: @b\n",
           "a: `b\n",
           "a: ,b\n",
           "a: ]b\n",
       })
    EXPECT_FALSE(is_simple(text)) << text;
  EXPECT_FALSE(is_simple(str_cat(std::string(2000, 'a'), ": b\n"))) << "a key that is too long";
  EXPECT_FALSE(is_simple(str_cat("a: ", std::string(kMaxNesting, '['), std::string(kMaxNesting, ']'))));
  EXPECT_FALSE(is_simple(std::string_view("a: b\0c\n", 7)));
}

class Text {
 public:
  explicit Text(uint32_t seed) : random_(seed) {}

  std::string make() {
    std::string out(below(3), ' ');
    block(out.size(), 0, &out);
    for (size_t damage = below(4); damage > 0 && damage < 3; --damage) spoil(&out);
    return out;
  }

 private:
  size_t below(size_t limit) { return std::uniform_int_distribution<size_t>(0, limit - 1)(random_); }
  std::string_view any(const std::vector<std::string_view>& texts) { return texts[below(texts.size())]; }
  std::string_view scalar() {
    return any({"a",   "b c", "12", "true",  "null", "~",  "\"\"", "'x: y'", "\"#\"",  "-1", "a:b",
                "a#b", "x-",  "-x", "a b:c", "/p/",  "*x", "",     "a?",     "\"a\" ", "b  "});
  }
  std::string_view key() { return any({"a", "b", "c d", "\"e\"", "'f'", "g-h", "null", "i "}); }
  std::string_view end() { return any({"\n", "\n", "\n", " # c\n", "\n\n", "\n  # c\n", "  \n"}); }

  // From the column that `out` has come to.
  void block(size_t column, size_t depth, std::string* out) {
    const bool list = below(3) == 0;
    for (size_t left = 1 + below(3); left > 0; --left) {
      if (list)
        item(column, depth, out);
      else
        field(column, depth, out);
      if (left > 1) out->append(column, ' ');
    }
  }

  void item(size_t column, size_t depth, std::string* out) {
    out->append("-").append(1 + below(2), ' ');
    const size_t own = column + (out->size() - out->rfind('-'));
    if (depth < 3 && below(2) == 0) return block(own, depth + 1, out);
    if (below(4) == 0) return lower(column, depth, out);
    value(out);
  }

  void field(size_t column, size_t depth, std::string* out) {
    out->append(key()).append(":");
    if (depth < 3 && below(2) == 0) return lower(column, depth, out);
    out->append(" ");
    value(out);
  }

  // A block that begins on the next line.
  void lower(size_t column, size_t depth, std::string* out) {
    out->append(end());
    const size_t own = column + below(4);
    out->append(own, ' ');
    block(own, depth + 1, out);
  }

  void value(std::string* out) {
    if (below(3) == 0)
      flow(0, out);
    else
      out->append(scalar());
    out->append(end());
  }

  void flow(size_t depth, std::string* out) {
    const bool map = below(2) == 0;
    out->append(map ? "{" : "[");
    for (size_t left = below(4); left > 0; --left) {
      if (map) out->append(key()).append(": ");
      if (depth < 2 && below(3) == 0)
        flow(depth + 1, out);
      else
        out->append(scalar());
      if (left > 1) out->append(any({", ", ",", " , "}));
    }
    out->append(map ? "}" : "]");
  }

  void spoil(std::string* out) {
    constexpr std::string_view kLetters = " \n:-#{}[],\"'a?&*|>!%@\t\\.~";
    const size_t at = below(out->size());
    switch (below(4)) {
      case 0:
        out->erase(at, 1);
        break;
      case 1:
        out->insert(at, 1, kLetters[below(kLetters.size())]);
        break;
      case 2:
        (*out)[at] = kLetters[below(kLetters.size())];
        break;
      default:
        out->insert(at, out->substr(below(out->size()), below(8)));
    }
    if (out->empty()) out->push_back('a');
  }

  std::mt19937 random_;
};

TEST(SimpleYamlTest, AKeyThatIsTooLongForLibyamlIsNotSimple) {
  const std::string blanks(1100, ' '), name(990, 'n'), few(40, ' ');
  for (const std::string& text : {"a" + blanks + ": b\n", "{a" + blanks + ": b}\n", name + few + ": b\n",
                                  "c: d\n" + name + few + ": b\n"}) {
    EXPECT_FALSE(is_simple(text)) << text;
  }
  EXPECT_TRUE(is_simple("a" + few + ": b\n"));
}

// What an assignment would leave is a tree in memory that is gone: the elements of a list move alone.
TEST(SimpleYamlTest, ADocumentMovesWithItsMemoryAndTakesNoOthersPlace) {
  std::vector<YamlDocument> documents = parse_yaml("a: [b, c]\nd:\n- e: f\n---\ng: h\n");
  ASSERT_EQ(documents.size(), 2U);
  ASSERT_NE(documents[0].memory, nullptr);
  const std::string before = described(documents[0].root);
  const YamlDocument moved(std::move(documents[0]));
  documents.clear();
  EXPECT_EQ(described(moved.root), before);
  EXPECT_FALSE(std::is_move_assignable_v<YamlDocument>);
  EXPECT_FALSE(std::is_copy_assignable_v<YamlDocument>);
}

TEST(SimpleYamlTest, RandomTextsAreWhatLibyamlMakesOfThem) {
  constexpr uint32_t kTexts = 20'000;
  uint32_t simple = 0;
  for (uint32_t seed = 0; seed < kTexts && !HasFailure(); ++seed)
    simple += is_simple(Text(seed).make()) ? 1 : 0;
  // Neither all nor nothing: it is tried on both kinds.
  EXPECT_GT(simple, kTexts / 20);
  EXPECT_LT(simple, kTexts);
}

}  // namespace
}  // namespace weft::control_plane
