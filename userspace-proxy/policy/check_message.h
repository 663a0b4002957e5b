// What a provider is asked about a request, and what its answer says: CheckRequest and CheckResponse of
// Envoy's envoy.service.auth.v3 in the framing of gRPC, or an HTTP response. Pure; answers are bytes of
// somebody else, read once and strictly.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "userspace-proxy/http/message.h"
#include "userspace-proxy/policy/external_provider.h"

namespace weft::proxy {

// Bytes of an answer, its head not counted; a longer one is none.
inline constexpr size_t kMaxCheckAnswer = 64 * 1024;
// Fields that one answer may edit; one that allows with more of them is none.
inline constexpr size_t kMaxCheckEdits = 128;

struct CheckQuestion {
  const RequestHead& head;  // its target is normalised
  SocketAddress client, server;
  std::string_view client_id;   // "spiffe://…"; empty: nobody is proved
  std::string_view server_uid;  // of the workload
  std::string_view body;        // as far as the provider is asked with it
  int64_t unix_ns = 0;
};

struct FieldEdit {
  enum class Kind : uint8_t { kSet, kAppend, kAddIfAbsent, kSetIfPresent, kRemove };
  Kind kind = Kind::kSet;
  std::string name, value;
};

struct CheckAnswer {
  enum class Kind : uint8_t { kAllowed, kDenied, kFailed };
  Kind kind = Kind::kFailed;
  // Of kFailed: why, without a byte of the request or the answer.
  std::string_view problem;
  // Of kFailed: it answered, and nobody can tell whether that was a no. Never let in by failOpen.
  bool unread = false;
  // Of kDenied.
  uint16_t status = 403;
  std::string body;
  // Of the response: of a denial, or of what the application answers.
  std::vector<FieldEdit> response;
  // Of the request as the application gets it.
  std::vector<FieldEdit> request;
};

// What the status of a provider's answer over HTTP says, whatever becomes of its body.
CheckAnswer::Kind http_verdict(uint16_t status);

// A message of gRPC with its five bytes in front.
std::string grpc_question(const ExternalProvider& provider, const CheckQuestion& question);
// All that came before the trailers. What fails is `unread`. A denial stays one whatever is wrong with its
// status and its fields: they are left out.
CheckAnswer read_grpc_answer(std::string_view bytes);

// The head of a request of HTTP to the provider, made of the one that it is about; views are of that, of the
// provider and of `text`, which takes what is in neither.
void http_question(const ExternalProvider& provider, const CheckQuestion& question, RequestHead* out,
                   std::string* text);
// 200 allows, 5xx is a failure, and everything else a denial, of whose fields the first kMaxCheckEdits count.
CheckAnswer read_http_answer(const ExternalProvider& provider, const ResponseHead& head, std::string body);

// The views that these put into `headers` are of the edits. Of a request goes with a field also what some
// servers would read in its place (reads_as()): a client's "X_User" does not stand beside "x-user".
void apply_to_request(const std::vector<FieldEdit>& edits, std::vector<Header>* headers);
void apply_to_response(const std::vector<FieldEdit>& edits, std::vector<Header>* headers);
bool sets(const std::vector<FieldEdit>& edits, std::string_view name);

}  // namespace weft::proxy
