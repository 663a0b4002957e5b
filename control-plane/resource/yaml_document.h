// One file's text as bounded trees of YAML nodes that remember their lines. parse_file.cc calls it; it knows
// no Kubernetes. It never throws and never builds more than the limits below, whatever the input.
#pragma once

#include <cstdint>
#include <memory>
#include <memory_resource>
#include <string>
#include <string_view>
#include <vector>

namespace weft::control_plane {

inline constexpr size_t kMaxFileBytes = 16 * 1024 * 1024;
inline constexpr size_t kMaxDocumentBytes = 1024 * 1024;
inline constexpr uint32_t kMaxNesting = 64;
// Nodes of one document after aliases are expanded: the bound on "billion laughs".
inline constexpr size_t kMaxNodes = 200'000;

struct YamlField;

struct YamlNode {
  enum class Kind : uint8_t { kNull, kScalar, kSequence, kMap };
  Kind kind = Kind::kNull;
  // A plain (unquoted) scalar may be a number, a boolean or null; a quoted one is always a string.
  bool plain = false;
  uint32_t line = 0;  // 1-based, in the file
  std::string scalar;
  // In memory of the document, where it has some.
  std::pmr::vector<YamlNode> items;
  std::pmr::vector<YamlField> fields;

  // The first field of that name; nullptr: none, or this is no map.
  const YamlNode* find(std::string_view name) const;
};

struct YamlField {
  std::string name;
  uint32_t line = 0;
  YamlNode value;
};

struct YamlDocument {
  YamlDocument() = default;
  YamlDocument(YamlDocument&&) = default;
  // Member by member the memory would go before the tree that is in it.
  YamlDocument& operator=(YamlDocument&&) = delete;

  // Of the tree below it, which goes as a whole; null: each part has its own.
  std::unique_ptr<std::pmr::memory_resource> memory = nullptr;
  // First line of the document.
  uint32_t line = 0;
  YamlNode root = {};
  // Empty when the document was understood; then `error_line` is 0 too.
  std::string error = {};
  uint32_t error_line = 0;
  // The document broke a limit above, not the syntax. `root` is then what the document calls itself, as far
  // as it could be read: apiVersion, kind, and of metadata name and namespace.
  bool over_limit = false;
};

// The text of one document, and the line of the file that it begins on.
struct YamlChunk {
  uint32_t line = 1;
  std::string_view text;
};

// Cuts a file at its document markers, so that a broken document does not hide the next one. Documents that
// hold nothing (comments, blank lines) are left out.
std::vector<YamlChunk> cut_documents(std::string_view text);
// JSON is YAML.
YamlDocument parse_document(const YamlChunk& chunk);
// The same without the short cut of simple_yaml.h.
YamlDocument parse_any_document(const YamlChunk& chunk);
// Both.
std::vector<YamlDocument> parse_yaml(std::string_view text);

// YAML 1.2 §10.3.2: a plain scalar of this text is null.
bool is_null_text(std::string_view text);

// Of a text that stands in a document: its lines become those of the file.
void shift_lines(uint32_t by, YamlNode* node);

}  // namespace weft::control_plane
