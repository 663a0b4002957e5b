// See token_review.h.
#include "control-plane/serve/token_review.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/status_macros.h"
#include "control-plane/kubernetes/json_fields.h"
#include "control-plane/kubernetes/server_text.h"

namespace weft::control_plane {
namespace {

using Json = nlohmann::json;

constexpr char kPath[] = "/apis/authentication.k8s.io/v1/tokenreviews";
constexpr std::chrono::seconds kDeadline{10};
constexpr char kNodeName[] = "authentication.kubernetes.io/node-name";

bool has(const Json& list, const std::string& text) {
  return list.is_array() && std::any_of(list.begin(), list.end(), [&text](const Json& each) {
           return each.is_string() && each.get_ref<const std::string&>() == text;
         });
}

}  // namespace

absl::StatusOr<ReviewedToken> read_review(const std::string& body, const std::string& audience) {
  const Json answer = Json::parse(body, nullptr, false);
  if (!answer.is_object() || !answer.contains("status") || !answer["status"].is_object())
    return absl::UnavailableError("its answer is no TokenReview");
  const Json& status = answer["status"];
  ReviewedToken out;
  out.error = server_text(text_at(status, "error"));
  const auto authenticated = status.find("authenticated");
  out.authenticated =
      authenticated != status.end() && authenticated->is_boolean() && authenticated->get<bool>();
  // A server that does not know audiences would answer for any.
  if (out.authenticated && !has(status.value("audiences", Json()), audience)) {
    out.authenticated = false;
    out.error = "it is not for audience " + audience;
  }
  if (!out.authenticated || !status.contains("user") || !status["user"].is_object()) return out;
  const Json& user = status["user"];
  out.user = text_at(user, "username");
  const Json extra = user.value("extra", Json::object());
  const auto node = extra.is_object() ? extra.find(kNodeName) : extra.end();
  // Exactly one: anything else proves no node.
  if (extra.is_object() && node != extra.end() && node->is_array() && node->size() == 1 &&
      node->front().is_string())
    out.node = node->front().get<std::string>();
  return out;
}

absl::StatusOr<ReviewedToken> TokenReviewer::review(const std::string& token) {
  const Json question{{"apiVersion", "authentication.k8s.io/v1"},
                      {"kind", "TokenReview"},
                      {"spec", {{"token", token}, {"audiences", {audience_}}}}};
  // Bytes that are no UTF-8 are no token; they must not end the process.
  const std::string body = question.dump(-1, ' ', false, Json::error_handler_t::replace);
  absl::StatusOr<std::string> answer =
      api_.call({.path = kPath, .deadline = kDeadline, .method = "POST", .body = body});
  if (!answer.ok()) return annotate("TokenReview", answer.status());
  return read_review(*answer, audience_);
}

}  // namespace weft::control_plane
