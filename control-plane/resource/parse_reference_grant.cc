// ReferenceGrant of the Gateway API: who outside a namespace may refer to what is in it.
#include <array>

#include "base/strings.h"
#include "control-plane/resource/parse_object.h"

namespace weft::control_plane {
namespace {

using Names = std::string_view;

constexpr std::array<Names, 2> kSpecRead = {"from", "to"};
constexpr std::array<Names, 3> kFromRead = {"group", "kind", "namespace"};
constexpr std::array<Names, 3> kToRead = {"group", "kind", "name"};

void require_entries(const FieldReader& spec, Names field) {
  if (spec.items(field).empty())
    spec.error_at(field, kFieldMissing, "at least one entry is required", "add an entry with group and kind");
}

}  // namespace

ReferenceGrant parse_reference_grant(const FieldReader& root, ObjectMeta meta) {
  ReferenceGrant out{.meta = std::move(meta), .from = {}, .to = {}};
  const auto spec = root.child("spec");
  if (!spec) {
    root.error_at("spec", kFieldMissing, "the field is required", "give from and to");
    return out;
  }
  if (!spec->expect_map({.read = kSpecRead, .known = {}})) return out;
  for (const Names field : kSpecRead) require_entries(*spec, field);
  for (const FieldReader& item : spec->items("from")) {
    if (!item.expect_map({.read = kFromRead, .known = {}})) continue;
    out.from.push_back({item.text("group").value_or(""), item.required_text("kind", "a kind of routes"),
                        item.required_text("namespace", "the namespace of the routes")});
  }
  for (const FieldReader& item : spec->items("to")) {
    if (!item.expect_map({.read = kToRead, .known = {}})) continue;
    out.to.push_back({item.text("group").value_or(""), item.required_text("kind", "a kind of objects"),
                      item.text("name").value_or("")});
  }
  return out;
}

}  // namespace weft::control_plane
