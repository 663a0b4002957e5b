// See cluster_reader.h.
#include "control-plane/kubernetes/cluster_reader.h"

#include <utility>

#include "base/strings.h"

namespace weft::control_plane {
namespace {

constexpr int kPage = 500;

// "continue" is a token of the server's making.
std::string escaped(const std::string& text) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out;
  for (const unsigned char c : text) {
    if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'))
      out.push_back(static_cast<char>(c));
    else
      out.append({'%', kDigits[c >> 4], kDigits[c & 15]});
  }
  return out;
}

}  // namespace

bool is_label(const std::string& text) {
  return !text.empty() && text.size() < 64 &&
         text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == text.npos;
}

absl::StatusOr<ApiAccess> access_of(const ClusterQuestion& question) {
  if (question.kubeconfig.empty()) return in_cluster_access();
  return read_kubeconfig(question.kubeconfig, question.context);
}

JsonAnswer ask(ApiClient& client, const std::string& path, const Json& post) {
  const ApiAnswer answer = call(client, path, post.is_null() ? "" : post.dump());
  JsonAnswer out{.status = answer.end.status, .problem = answer.end.message, .value = nullptr};
  if (!out.ok()) return out;
  out.value = Json::parse(answer.body, nullptr, false);
  if (!out.value.is_object()) out.problem = "the answer is no JSON object";
  return out;
}

JsonAnswer each(ApiClient& client, const std::string& path, const std::function<void(const Json&)>& object) {
  std::string rest;
  while (true) {
    std::string page = str_cat(path, path.find('?') == path.npos ? "?" : "&", "limit=", kPage);
    if (!rest.empty()) str_append(&page, "&continue=", escaped(rest));
    JsonAnswer answer = ask(client, page);
    const Json* const items = answer.ok() ? find(answer.value, {"items"}) : nullptr;
    if (items == nullptr || !items->is_array()) {
      if (answer.ok()) answer.problem = "the answer is no list";
      return answer;
    }
    for (const Json& item : *items) object(item);
    rest = text(answer.value, {"metadata", "continue"});
    if (rest.empty()) return answer;
  }
}

const Json* find(const Json& value, std::initializer_list<std::string_view> path) {
  const Json* at = &value;
  for (const std::string_view name : path) {
    if (!at->is_object()) return nullptr;
    const auto field = at->find(name);
    if (field == at->end()) return nullptr;
    at = &*field;
  }
  return at;
}

std::string text(const Json& value, std::initializer_list<std::string_view> path) {
  const Json* const field = find(value, path);
  return field != nullptr && field->is_string() ? field->get<std::string>() : "";
}

int64_t number(const Json& value, std::initializer_list<std::string_view> path) {
  const Json* const field = find(value, path);
  return field != nullptr && field->is_number_integer() ? field->get<int64_t>() : 0;
}

std::string some_of(const std::vector<std::string>& names, size_t most) {
  std::string out;
  for (size_t i = 0; i < names.size() && i < most; ++i) str_append(&out, i == 0 ? "" : ", ", names[i]);
  if (names.size() > most) str_append(&out, " and ", names.size() - most, " more");
  return out;
}

void ClusterReport::good(const char* id, const char* category, std::string description) {
  rows.push_back(
      {.id = id, .category = category, .description = std::move(description), .error = "", .hint = ""});
}

void ClusterReport::bad(const char* id, const char* category, std::string description, std::string error,
                        std::string hint, ClusterCheck::Result result) {
  rows.push_back({.id = id,
                  .category = category,
                  .description = std::move(description),
                  .result = result,
                  .error = std::move(error),
                  .hint = std::move(hint)});
}

}  // namespace weft::control_plane
