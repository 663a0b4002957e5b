// Reads typed values out of a YAML map and reports everything wrong with it: unknown, unsupported, missing or
// mistyped fields, each with file, line, field path and remedy. The parsers of the kinds use it; it knows no
// kind itself.
#pragma once

#include <cstdint>
#include <map>
#include <memory_resource>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "control-plane/control_plane.h"
#include "control-plane/resource/finding_codes.h"
#include "control-plane/resource/yaml_document.h"

namespace weft::control_plane {

// Where a value stands in its document: a field or an item of what is around it. Spelt out only for who reads
// it, because most values are never spoken of.
struct FieldPlace {
  const FieldPlace* around = nullptr;
  std::string_view name;  // of the field; of the document itself, what its path begins with
  size_t item = kNoItem;

  static constexpr size_t kNoItem = SIZE_MAX;
};

// Where the findings of one document go, and its places, which live as long.
class Diagnostics {
 public:
  Diagnostics(std::string file, std::vector<Finding>& out) : file_(std::move(file)), out_(out) {}
  Diagnostics(const Diagnostics&) = delete;
  Diagnostics& operator=(const Diagnostics&) = delete;

  const FieldPlace* add(const FieldPlace& place) {
    void* const memory = memory_.allocate(sizeof(FieldPlace), alignof(FieldPlace));
    return new (memory) FieldPlace(place);
  }

  void set_object(std::string object) { object_ = std::move(object); }
  void error(const char* code, uint32_t line, std::string field, std::string message, std::string remedy);
  void warning(const char* code, uint32_t line, std::string field, std::string message, std::string remedy);
  // Errors since this document began.
  uint32_t errors() const { return errors_; }
  const std::string& file() const { return file_; }

 private:
  std::string file_;
  std::string object_;
  std::vector<Finding>& out_;
  uint32_t errors_ = 0;
  std::pmr::monotonic_buffer_resource memory_;  // of places, which need no destructor
};

// The fields of one level. Istio kinds are strict: a `known` field is refused as not supported yet, any other
// as unknown. Kubernetes core kinds tolerate `known` fields and new ones, but not a misspelt field that we
// read.
struct FieldTable {
  std::span<const std::string_view> read;
  std::span<const std::string_view> known;
  bool strict = true;
};

class FieldReader {
 public:
  // Of a whole document or object; `path` (what stands before the names of its fields), node and `out`
  // outlive it and all that are made of it.
  FieldReader(Diagnostics& out, const YamlNode& node, std::string_view path, uint32_t line)
      : FieldReader(out, node, out.add({.name = path}), line) {}

  // True when this is a map; otherwise an error was reported. Also reports duplicates and fields not in the
  // table.
  bool expect_map(const FieldTable& table) const;

  bool has(std::string_view name) const { return value(name) != nullptr; }
  // The reader of a field; nullopt when absent or null.
  std::optional<FieldReader> child(std::string_view name) const;
  // Readers of the items of a list field; empty when absent. Reports a field that is no list.
  std::vector<FieldReader> items(std::string_view name) const;

  // Each reports a wrong type and returns nullopt for it as for an absent field.
  std::optional<std::string> text(std::string_view name) const;
  std::optional<int64_t> integer(std::string_view name, int64_t low, int64_t high) const;
  std::optional<bool> boolean(std::string_view name) const;
  std::vector<std::string> texts(std::string_view name) const;
  std::map<std::string, std::string> text_map(std::string_view name) const;
  // As text(), but absence or "" is an error.
  std::string required_text(std::string_view name, std::string_view what) const;

  // The reader of a document that this value's text holds; `node` outlives it.
  FieldReader inside(const YamlNode& node) const { return {*out_, node, place_, node.line}; }

  // Of this value itself.
  std::vector<FieldReader> as_items() const;
  std::optional<std::string> as_text() const;
  // The same as a view of the node.
  std::optional<std::string_view> as_view() const;
  std::optional<int64_t> as_integer(int64_t low, int64_t high) const;

  void error(const char* code, std::string message, std::string remedy) const;
  void error_at(std::string_view name, const char* code, std::string message, std::string remedy) const;
  void warning(const char* code, std::string message, std::string remedy) const;

  const YamlNode& node() const { return *node_; }
  std::string path() const;
  uint32_t line() const { return line_; }
  uint32_t line_of(std::string_view name) const;

 private:
  FieldReader(Diagnostics& out, const YamlNode& node, const FieldPlace* place, uint32_t line)
      : out_(&out), node_(&node), place_(place), line_(line) {}

  const YamlField* field(std::string_view name) const;
  // nullptr: it is absent, or null.
  const YamlField* value(std::string_view name) const;
  // Of a field of this map.
  FieldReader of(const YamlField& field) const;
  std::string path_of(std::string_view name) const;
  void wrong_type(std::string_view expected, std::string_view remedy) const;
  void check_field(const FieldTable& table, const YamlField& f) const;

  Diagnostics* out_;
  const YamlNode* node_;
  const FieldPlace* place_;
  uint32_t line_;
};

// Plain scalars that Kubernetes' YAML decoder reads as a number, a boolean or null, so that they are no
// strings.
bool resolves_to_string(const YamlNode& node);

}  // namespace weft::control_plane
