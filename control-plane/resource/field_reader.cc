// See field_reader.h.
#include "control-plane/resource/field_reader.h"

#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "base/strings.h"
#include "base/suggest.h"

namespace weft::control_plane {
namespace {

// Words of three letters are within two edits of almost everything: no guesses for them in tolerant tables.
constexpr size_t kShortestGuess = 4;

std::string kind_name(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      return "nothing";
    case YamlNode::Kind::kSequence:
      return "a list";
    case YamlNode::Kind::kMap:
      return "a map";
    case YamlNode::Kind::kScalar:
      break;
  }
  return str_cat("\"", node.scalar.substr(0, 64), "\"");
}

// No number, boolean or null begins with that letter.
bool begins_a_word_only(std::string_view text) {
  constexpr std::string_view kOthers = "~.+-ntfyoNTFYO";
  return !text.empty() && !absl::ascii_isdigit(static_cast<unsigned char>(text.front())) &&
         kOthers.find(text.front()) == std::string_view::npos;
}

bool contains(std::span<const std::string_view> list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

// Of a few fields, which most maps have; false: not known.
bool each_once(const std::pmr::vector<YamlField>& fields) {
  constexpr size_t kFew = 8;
  if (fields.size() > kFew) return false;
  for (size_t i = 1; i < fields.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (fields[i].name == fields[j].name) return false;
    }
  }
  return true;
}

std::string field_path(const std::string& around, std::string_view name) {
  // Keys with dots or slashes are labels and annotations.
  if (name.find_first_of("./") != std::string_view::npos) return str_cat(around, "[", name, "]");
  return around.empty() ? std::string(name) : str_cat(around, ".", name);
}

std::string path_at(const FieldPlace* place) {
  if (place->around == nullptr) return std::string(place->name);
  const std::string around = path_at(place->around);
  return place->item != FieldPlace::kNoItem ? str_cat(around, "[", place->item, "]")
                                            : field_path(around, place->name);
}

std::string list_of(std::span<const std::string_view> names) {
  std::string out;
  for (std::string_view name : names) str_append(&out, out.empty() ? "" : ", ", name);
  return out;
}

}  // namespace

void Diagnostics::error(const char* code, uint32_t line, std::string field, std::string message,
                        std::string remedy) {
  ++errors_;
  out_.push_back({code, Finding::Level::kError, file_, line, object_, std::move(field), std::move(message),
                  std::move(remedy)});
}

void Diagnostics::warning(const char* code, uint32_t line, std::string field, std::string message,
                          std::string remedy) {
  out_.push_back({code, Finding::Level::kWarning, file_, line, object_, std::move(field), std::move(message),
                  std::move(remedy)});
}

bool resolves_to_string(const YamlNode& node) {
  if (!node.plain) return true;
  if (begins_a_word_only(node.scalar)) return true;
  const std::string lower = absl::AsciiStrToLower(to_absl(node.scalar));
  static const std::set<std::string> kWords = {"",   "~",  "null", "true", "false", "yes",
                                               "no", "on", "off",  ".inf", "-.inf", ".nan"};
  if (kWords.contains(lower)) return false;
  const char first = lower.front();
  if (first != '+' && first != '-' && first != '.' && !absl::ascii_isdigit(first)) return true;
  if (lower.size() > 2 && first == '0' && (lower[1] == 'x' || lower[1] == 'o')) return false;
  double number = 0;
  return !absl::SimpleAtod(to_absl(lower), &number);
}

const YamlField* FieldReader::field(std::string_view name) const {
  for (const YamlField& f : node_->fields) {
    if (f.name == name) return &f;
  }
  return nullptr;
}

const YamlField* FieldReader::value(std::string_view name) const {
  const YamlField* f = field(name);
  if (f == nullptr || f->value.kind == YamlNode::Kind::kNull) return nullptr;
  if (f->value.plain && (f->value.scalar == "null" || f->value.scalar == "~" || f->value.scalar.empty())) {
    return nullptr;
  }
  return f;
}

FieldReader FieldReader::of(const YamlField& field) const {
  return FieldReader(*out_, field.value, out_->add({.around = place_, .name = field.name}), field.line);
}

std::string FieldReader::path() const { return path_at(place_); }

std::string FieldReader::path_of(std::string_view name) const { return field_path(path(), name); }

uint32_t FieldReader::line_of(std::string_view name) const {
  const YamlField* f = field(name);
  return f != nullptr ? f->line : line_;
}

void FieldReader::error(const char* code, std::string message, std::string remedy) const {
  out_->error(code, line_, path(), std::move(message), std::move(remedy));
}

void FieldReader::error_at(std::string_view name, const char* code, std::string message,
                           std::string remedy) const {
  out_->error(code, line_of(name), path_of(name), std::move(message), std::move(remedy));
}

void FieldReader::warning(const char* code, std::string message, std::string remedy) const {
  out_->warning(code, line_, path(), std::move(message), std::move(remedy));
}

void FieldReader::wrong_type(std::string_view expected, std::string_view remedy) const {
  error(kWrongType, str_cat("expected ", expected, ", found ", kind_name(*node_)), std::string(remedy));
}

void FieldReader::check_field(const FieldTable& table, const YamlField& f) const {
  if (contains(table.read, f.name)) return;
  const bool known = contains(table.known, f.name);
  if (known && !table.strict) return;
  if (known) {
    out_->error(kNotSupportedYet, f.line, path_of(f.name),
                str_cat("field \"", f.name, "\" is not supported yet"),
                "remove the field; it would have no effect");
    return;
  }
  if (!table.strict && f.name.size() < kShortestGuess) return;
  std::vector<std::string_view> words(table.read.begin(), table.read.end());
  if (table.strict) words.insert(words.end(), table.known.begin(), table.known.end());
  const auto guess = nearest(f.name, words);
  if (!guess && !table.strict) return;
  out_->error(
      kUnknownField, f.line, path_of(f.name), str_cat("unknown field \"", f.name.substr(0, 64), "\""),
      guess ? str_cat("did you mean \"", *guess, "\"?") : str_cat("use one of: ", list_of(table.read)));
}

bool FieldReader::expect_map(const FieldTable& table) const {
  if (node_->kind != YamlNode::Kind::kMap) {
    wrong_type("a map", str_cat("write it as a map with the fields ", list_of(table.read)));
    return false;
  }
  const bool once = each_once(node_->fields);
  std::set<std::string_view> seen;
  for (const YamlField& f : node_->fields) {
    if (!once && !seen.insert(f.name).second) {
      out_->error(kDuplicateField, f.line, path_of(f.name), "the field is given twice",
                  "keep one of the two");
      continue;
    }
    check_field(table, f);
  }
  return true;
}

std::optional<FieldReader> FieldReader::child(std::string_view name) const {
  const YamlField* const f = value(name);
  if (f == nullptr) return std::nullopt;
  return of(*f);
}

std::vector<FieldReader> FieldReader::items(std::string_view name) const {
  const auto list = child(name);
  return list ? list->as_items() : std::vector<FieldReader>();
}

std::vector<FieldReader> FieldReader::as_items() const {
  std::vector<FieldReader> out;
  if (node_->kind != YamlNode::Kind::kSequence) {
    wrong_type("a list", "begin each item with \"- \"");
    return out;
  }
  out.reserve(node_->items.size());
  for (size_t i = 0; i < node_->items.size(); ++i) {
    const YamlNode& item = node_->items[i];
    out.push_back({*out_, item, out_->add({.around = place_, .item = i}), item.line > 0 ? item.line : line_});
  }
  return out;
}

std::optional<std::string> FieldReader::as_text() const {
  const auto view = as_view();
  return view ? std::optional<std::string>(*view) : std::nullopt;
}

std::optional<std::string_view> FieldReader::as_view() const {
  if (node_->kind != YamlNode::Kind::kScalar) {
    wrong_type("a string", "write a plain value");
    return std::nullopt;
  }
  if (!resolves_to_string(*node_)) {
    wrong_type("a string", str_cat("quote it: \"", node_->scalar.substr(0, 64), "\""));
    return std::nullopt;
  }
  return node_->scalar;
}

std::optional<int64_t> FieldReader::as_integer(int64_t low, int64_t high) const {
  const auto number = node_->kind == YamlNode::Kind::kScalar && node_->plain
                          ? parse_integer<int64_t>(node_->scalar)
                          : std::nullopt;
  if (!number) {
    wrong_type("a whole number", "write digits without quotes");
    return std::nullopt;
  }
  if (*number < low || *number > high) {
    error(kValueRejected, str_cat(*number, " is out of range"),
          str_cat("use a number from ", low, " to ", high));
    return std::nullopt;
  }
  return number;
}

std::optional<std::string> FieldReader::text(std::string_view name) const {
  const auto c = child(name);
  return c ? c->as_text() : std::nullopt;
}

std::optional<int64_t> FieldReader::integer(std::string_view name, int64_t low, int64_t high) const {
  const auto c = child(name);
  return c ? c->as_integer(low, high) : std::nullopt;
}

std::optional<bool> FieldReader::boolean(std::string_view name) const {
  const auto c = child(name);
  if (!c) return std::nullopt;
  const YamlNode& v = c->node();
  if (v.kind == YamlNode::Kind::kScalar && v.plain) {
    const std::string word = absl::AsciiStrToLower(to_absl(v.scalar));
    if (word == "true" || word == "yes" || word == "on") return true;
    if (word == "false" || word == "no" || word == "off") return false;
  }
  c->wrong_type("true or false", "write true or false without quotes");
  return std::nullopt;
}

std::vector<std::string> FieldReader::texts(std::string_view name) const {
  std::vector<std::string> out;
  for (const FieldReader& item : items(name)) {
    if (auto text = item.as_text()) out.push_back(std::move(*text));
  }
  return out;
}

std::map<std::string, std::string> FieldReader::text_map(std::string_view name) const {
  std::map<std::string, std::string> out;
  const auto map = child(name);
  if (!map) return out;
  if (map->node().kind != YamlNode::Kind::kMap) {
    map->wrong_type("a map of strings", "write \"key: value\" lines below it");
    return out;
  }
  for (const YamlField& f : map->node().fields) {
    const FieldReader entry = map->of(f);
    if (out.contains(f.name)) {
      entry.error(kDuplicateField, "the field is given twice", "keep one of the two");
    } else if (f.value.kind == YamlNode::Kind::kNull) {
      out[f.name] = "";
    } else if (auto text = entry.as_text()) {
      out[f.name] = std::move(*text);
    }
  }
  return out;
}

std::string FieldReader::required_text(std::string_view name, std::string_view what) const {
  const auto c = child(name);
  if (!c) {
    out_->error(kFieldMissing, line_of(name), path_of(name), "the field is required", str_cat("give ", what));
    return "";
  }
  const auto text = c->as_text();
  if (text && text->empty()) {
    c->error(kFieldMissing, "the field must not be empty", str_cat("give ", what));
  }
  return text.value_or("");
}

}  // namespace weft::control_plane
