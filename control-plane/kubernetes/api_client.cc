// See api_client.h. libcurl's multi interface (libcurl-multi(3)).
#include "control-plane/kubernetes/api_client.h"

#include <curl/curl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <deque>
#include <map>
#include <utility>

#include "base/status_macros.h"
#include "control-plane/kubernetes/curl_access.h"
#include "control-plane/kubernetes/server_text.h"

namespace weft::control_plane {
namespace {

// Of an answer that is no success: enough for its message.
constexpr size_t kMaxErrorBytes = 16 * 1024;
constexpr long kKeepAliveSeconds = 15;

struct ListDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

// One request under way.
struct Transfer {
  ApiClient::Id id = 0;
  ApiReader* reader = nullptr;
  std::unique_ptr<CURL, EasyDeleter> easy;
  std::unique_ptr<curl_slist, ListDeleter> headers;
  int dead_peer_ms = 0;
  std::string error_body;
  char error[CURL_ERROR_SIZE] = {};
  bool enough = false;
};

bool is_success(long status) { return status >= 200 && status < 300; }

size_t on_body(char* bytes, size_t size, size_t count, void* context) {
  Transfer& transfer = *static_cast<Transfer*>(context);
  const std::string_view text(bytes, size * count);
  long status = 0;
  curl_easy_getinfo(transfer.easy.get(), CURLINFO_RESPONSE_CODE, &status);
  if (!is_success(status)) {
    transfer.error_body.append(
        text.substr(0, kMaxErrorBytes - std::min(kMaxErrorBytes, transfer.error_body.size())));
    return text.size();
  }
  if (transfer.reader->body(text)) return text.size();
  transfer.enough = true;
  return 0;
}

// The line that ends the head. (A server may say "100 Continue" before.)
size_t on_head(char* bytes, size_t size, size_t count, void* context) {
  Transfer& transfer = *static_cast<Transfer*>(context);
  const std::string_view line(bytes, size * count);
  long status = 0;
  curl_easy_getinfo(transfer.easy.get(), CURLINFO_RESPONSE_CODE, &status);
  if ((line == "\r\n" || line == "\n") && is_success(status)) transfer.reader->accepted();
  return line.size();
}

// A server that vanished acknowledges nothing; a watch would wait for it without end.
int on_socket(void* context, curl_socket_t socket, curlsocktype) {
  const int limit = static_cast<const Transfer*>(context)->dead_peer_ms;
  ::setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit, sizeof(limit));
  return CURL_SOCKOPT_OK;
}

class CurlApiClient final : public ApiClient {
 public:
  CurlApiClient(ApiAccess access, Options options) : access_(std::move(access)), options_(options) {
    multi_ = curl_multi_init();
  }
  ~CurlApiClient() override {
    for (auto& [id, transfer] : transfers_) curl_multi_remove_handle(multi_, transfer->easy.get());
    transfers_.clear();
    curl_multi_cleanup(multi_);
  }
  bool usable() const { return multi_ != nullptr; }

  Id start(const ApiRequest& request, ApiReader* reader) override {
    auto transfer = std::make_unique<Transfer>();
    transfer->id = ++last_id_;
    transfer->reader = reader;
    absl::Status status = prepare(request, *transfer);
    if (!status.ok()) {
      refused_.push_back({transfer->id, reader, std::string(status.message())});
    } else {
      curl_multi_add_handle(multi_, transfer->easy.get());
      transfers_.emplace(transfer->id, std::move(transfer));
    }
    return last_id_;
  }

  void cancel(Id id) override {
    std::erase_if(refused_, [id](const Refused& refused) { return refused.id == id; });
    const auto found = transfers_.find(id);
    if (found == transfers_.end()) return;
    curl_multi_remove_handle(multi_, found->second->easy.get());
    transfers_.erase(found);
  }

  void turn(std::chrono::milliseconds wait) override {
    // Those that could not even begin.
    if (!refused_.empty()) wait = std::chrono::milliseconds(0);
    curl_multi_poll(multi_, nullptr, 0, static_cast<int>(std::max<int64_t>(wait.count(), 0)), nullptr);
    int running = 0;
    curl_multi_perform(multi_, &running);
    collect();
    while (!refused_.empty()) {
      const Refused refused = std::move(refused_.front());
      refused_.pop_front();
      refused.reader->ended({.message = refused.reason, .retry_after = std::nullopt});
    }
  }

  void wake() override { curl_multi_wakeup(multi_); }

 private:
  struct Refused {
    Id id;
    ApiReader* reader;
    std::string reason;
  };

  absl::Status prepare(const ApiRequest& request, Transfer& transfer) {
    transfer.easy.reset(curl_easy_init());
    CURL* const easy = transfer.easy.get();
    if (easy == nullptr) return absl::ResourceExhaustedError("curl_easy_init failed");
    ASSIGN_OR_RETURN(const std::string token, current_token(access_));
    const auto add_header = [&transfer](const std::string& line) {
      curl_slist* const longer = curl_slist_append(transfer.headers.get(), line.c_str());
      static_cast<void>(transfer.headers.release());
      transfer.headers.reset(longer);
    };
    add_header("Accept: application/json");
    if (!request.method.empty()) curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
    if (!request.body.empty()) {
      add_header("Content-Type: " + request.content_type);
      curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
      curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, request.body.c_str());
    }
    if (!token.empty()) add_header("Authorization: Bearer " + token);
    transfer.dead_peer_ms = static_cast<int>(options_.dead_peer.count());
    curl_easy_setopt(easy, CURLOPT_URL, str_cat(access_.server, request.path).c_str());
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "weft");
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer.headers.get());
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));
    // Rather wait for the first connection to say that it is HTTP/2 than open one for each watch. Without TLS
    // none ever says so, and all would wait for a watch to end.
    curl_easy_setopt(easy, CURLOPT_PIPEWAIT, access_.server.starts_with("https:") ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer.error);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, &transfer);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &transfer);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_head);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, &transfer);
    curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, on_socket);
    curl_easy_setopt(easy, CURLOPT_SOCKOPTDATA, &transfer);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, kKeepAliveSeconds);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, kKeepAliveSeconds);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options_.connect_timeout.count()));
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(request.deadline.count()));
    if (request.silence.count() > 0) {
      curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
      curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, static_cast<long>(request.silence.count()));
    }
    if (!access_.proxy.empty()) curl_easy_setopt(easy, CURLOPT_PROXY, access_.proxy.c_str());
#if LIBCURL_VERSION_NUM >= 0x075700
    // A thread that still looks a name up does not keep the process from ending.
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
    return secure(access_, easy);
  }

  // Tells readers what ended, one by one: a reader may start and cancel others.
  void collect() {
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      const CURLcode code = message->data.result;
      Transfer* ended = nullptr;
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &ended);
      curl_multi_remove_handle(multi_, ended->easy.get());
      const auto owned = transfers_.extract(ended->id);
      ended->reader->ended(end_of(*ended, code));
    }
  }

  static ApiEnd end_of(const Transfer& transfer, CURLcode code) {
    ApiEnd end;
    curl_easy_getinfo(transfer.easy.get(), CURLINFO_RESPONSE_CODE, &end.status);
    curl_off_t retry_after = 0;
    curl_easy_getinfo(transfer.easy.get(), CURLINFO_RETRY_AFTER, &retry_after);
    if (retry_after > 0) end.retry_after = std::chrono::seconds(retry_after);
    if (code != CURLE_OK && !transfer.enough) {
      end.status = 0;
      // libcurl's longer words have times and counts in them; about TLS they say what is wrong.
      const bool detail = is_about_tls(code) && transfer.error[0] != '\0';
      end.message = detail ? server_text(transfer.error) : curl_easy_strerror(code);
    } else if (!is_success(end.status)) {
      end.message = refusal_text(end.status, transfer.error_body);
    }
    return end;
  }

  const ApiAccess access_;
  const Options options_;
  CURLM* multi_ = nullptr;
  Id last_id_ = 0;
  std::map<Id, std::unique_ptr<Transfer>> transfers_;
  std::deque<Refused> refused_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ApiClient>> ApiClient::create(ApiAccess access, Options options) {
  RETURN_IF_ERROR(begin_curl());
  auto client = std::make_unique<CurlApiClient>(std::move(access), options);
  if (!client->usable()) return absl::ResourceExhaustedError("curl_multi_init failed");
  return client;
}

}  // namespace weft::control_plane
