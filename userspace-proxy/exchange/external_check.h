// ExternalCheck: what one request's exchange asks providers before it is judged (policies of CUSTOM): one
// after the other, by requests of its own from the pod, or the gateway, that is asked for. run() is the
// story of one question. Owned by the exchange; made for requests that a policy of CUSTOM selects, and for no
// other. Worker thread only.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "userspace-proxy/exchange/dial_target.h"
#include "userspace-proxy/exchange/held_body.h"
#include "userspace-proxy/exchange/own_response.h"
#include "userspace-proxy/exchange/pump.h"
#include "userspace-proxy/exchange/step.h"
#include "userspace-proxy/exchange/text_source.h"
#include "userspace-proxy/http/http1_text.h"
#include "userspace-proxy/policy/check_message.h"
#include "userspace-proxy/policy/request_policy.h"
#include "userspace-proxy/upstream/stream_request.h"

namespace weft::proxy {

struct ClientSide;
struct ProxyContext;

// Keeps the beginning of a provider's answer, and what its trailers say of gRPC.
class AnswerSink final : public BodySink {
 public:
  bool send(Operation& operation, Pieces& pieces, bool last, std::span<const Header> trailers) override;
  void finished() override {}

  std::string text;
  std::string grpc_status;  // empty: no trailer had one
};

class ExternalCheck final : private Pump::Observer {
 public:
  // Of one worker, and of one pod of it: beyond that nobody is asked, and the request gets 503 whatever the
  // provider's failOpen says. One pod's slow provider must not stop those of others.
  static constexpr uint32_t kMaxRunning = 1024, kMaxRunningOfPod = kMaxRunning / 4;

  // All outlive this; `head` is the request as it came.
  ExternalCheck(ProxyContext& context, const ClientSide& client, const GenerationRef& generation,
                const RequestHead& head);
  ~ExternalCheck() override;
  ExternalCheck(const ExternalCheck&) = delete;
  ExternalCheck& operator=(const ExternalCheck&) = delete;

  // Whom the policies name, as pods of the namespace see them; `as`: the gateway that asks, of the
  // generation. A provider is not asked about what comes to itself.
  void ask(const std::vector<ConnectionPolicy::Asked>& asked, std::string_view ns, const DialIdentity* as);
  bool asks() const { return !questions_.empty(); }
  // Whether some provider is asked with a body, and the request has one.
  bool holds_body(const RequestHead& head) const { return wanted_body() > 0 && head.body != BodyKind::kNone; }
  // What was read of it so far: only grows.
  uint64_t bytes_held() const { return body_.bytes(); }
  // As much of the body as any provider is asked with; as HeldBody::fill().
  bool hold(Operation& operation, BodySource& body);
  // The body ended before its end while it was read.
  bool body_broken() const { return holds_ && body_.broken(); }
  BodySource& request_body(BodySource& from) {
    if (holds_) return body_;
    return from;
  }

  // False: every provider has allowed it, or one has not. Else the next question begins: `over` runs when
  // heard() may be called.
  bool next(Operation& over);
  void heard();
  // Stops asking; the verdict stays as it is.
  void cancel();

  // kOk, or why the request is not let in: then answer() is what its client gets.
  Outcome outcome() const { return outcome_; }
  OwnResponse& answer() { return answer_; }
  // Of a request that is let in: its head as the application gets it, and the response as its client does.
  void edit(RequestHead* head) const;
  bool edits_request(std::string_view name) const;
  const ResponseHead& incoming(const ResponseHead& received);

 private:
  struct Question {
    std::string policy, provider_name;
    ExternalProviderPtr provider;  // null: nobody has that name
    uint32_t cluster = kNone;
  };

  Task run();

  // In the order in which run() calls them.
  bool begin();
  bool connected();
  void send();
  bool is_interim();
  void await_response() { step_.begin(upstream_->read_response(step_.operation())); }
  bool response_began() const;
  void collect() { response_pump_.start(upstream_->response_body(), sink_, Pump::Lead::kPayload); }
  bool tries_again();

  size_t wanted_body() const;
  bool begins(Operation& over);
  const Question& question() const { return questions_[at_]; }
  void compose();
  CheckAnswer read_answer();
  CheckAnswer no_answer() const;
  void take(CheckAnswer answer);
  void refuse(Outcome outcome, uint16_t status, std::string_view body);
  void refuse_unasked(std::string_view problem);
  // failure_ is the proxy's own, and says nothing about the provider.
  bool overloaded() const {
    return upstream_ == nullptr && !timed_out_ &&
           (failure_ == Outcome::kOverload || failure_ == Outcome::kCircuitOpen);
  }
  void report(std::string_view event, std::string_view problem) const;
  bool body_too_long() const;
  bool names_edited(const CheckAnswer& answer) const;
  bool leads_to_itself(uint32_t cluster) const;
  void pump_ended(Pump&) override {}
  void on_limit();

  ProxyContext& context_;
  const ClientSide& client_;
  GenerationRef generation_;
  const RequestHead& head_;
  const DialIdentity* asks_as_ = nullptr;
  std::vector<Question> questions_;
  size_t at_ = 0;
  bool holds_ = false;
  HeldBody body_;
  std::vector<CheckAnswer> answers_;  // of those that allowed it
  Outcome outcome_ = Outcome::kOk;
  std::string denial_;  // the body of answer_
  CheckAnswer denied_;  // whose fields are in answer_
  OwnResponse answer_;
  ResponseHead response_;

  // Of the question that is being asked.
  bool running_ = false;
  bool timed_out_ = false;
  bool fresh_ = false;
  Outcome failure_ = Outcome::kOk;
  DialTarget target_;
  Http1TextPool<RequestHead>::Text text_;
  std::string message_;
  TextSource source_;
  AnswerSink sink_;
  StreamRequest stream_request_;
  UpstreamStreamPtr upstream_;
  Pump request_pump_, response_pump_;
  Step step_;
  Timer limit_{this, method<&ExternalCheck::on_limit>};
  Task task_;  // last: cancelled first
};

}  // namespace weft::proxy
