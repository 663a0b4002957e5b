// See control_real_api.h.
#include "tools/bench/control_real_api.h"

#include <cstdio>
#include <fstream>
#include <iterator>

#include "base/status_macros.h"
#include "base/strings.h"
#include "control-plane/kubernetes/api_access.h"
#include "control-plane/kubernetes/api_call.h"
#include "control-plane/kubernetes/json_tree.h"

namespace weft::bench {
namespace {

namespace cp = control_plane;
using Clock = std::chrono::steady_clock;

// More than two processors keep busy; each has its connection.
constexpr size_t kWriters = 16;
constexpr std::chrono::seconds kDeadline(60), kProgress(5);
constexpr int kAttempts = 20;
constexpr std::chrono::milliseconds kAgain(100);
constexpr size_t kMaxAnswer = 4u << 20;
constexpr char kMergePatch[] = "application/merge-patch+json";
constexpr char kNamespace[] = "weft-system";

// "/api/v1/pods" of namespace x: "/api/v1/namespaces/x/pods".
std::string collection_of(const ApiObject& object) {
  const std::string path = object.collection;
  if (object.ns.empty()) return path;
  const size_t slash = path.rfind('/');
  return str_cat(path.substr(0, slash), "/namespaces/", object.ns, path.substr(slash));
}
std::string path_of(const ApiObject& object) { return str_cat(collection_of(object), "/", object.name); }

std::string whole(const ApiObject& object) {
  std::string out = str_cat("{\"metadata\":{\"name\":\"", object.name, "\"");
  if (!object.ns.empty()) str_append(&out, ",\"namespace\":\"", object.ns, "\"");
  return str_cat(out, object.metadata, "}", object.fields, "}");
}

// Busy, or etcd is.
bool is_passing(const cp::ApiEnd& end) { return end.status == 0 || end.status == 429 || end.status >= 500; }

}  // namespace

absl::StatusOr<std::unique_ptr<RealApi>> RealApi::open(const std::string& kubeconfig) {
  ASSIGN_OR_RETURN(cp::ApiAccess access, cp::read_kubeconfig(kubeconfig));
  std::unique_ptr<RealApi> out(new RealApi(std::move(access)));
  std::ifstream file(kubeconfig);
  out->kubeconfig_ = {std::istreambuf_iterator<char>(file), {}};
  RETURN_IF_ERROR(out->start());
  return out;
}

absl::Status RealApi::start() {
  ASSIGN_OR_RETURN(own_, cp::ApiClient::create(access_, {}));
  for (size_t i = 0; i < kWriters; ++i) {
    writers_.push_back(std::make_unique<Writer>());
    ASSIGN_OR_RETURN(writers_.back()->client, cp::ApiClient::create(access_, {}));
  }
  for (const auto& writer : writers_) writer->thread = std::thread([this, &writer] { write_all(*writer); });
  return absl::OkStatus();
}

RealApi::~RealApi() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (const auto& writer : writers_) {
    if (writer->thread.joinable()) writer->thread.join();
  }
}

void RealApi::put(ApiObject object, Begun begun) {
  post({.object = std::move(object), .remove = false, .begun = std::move(begun)});
}

void RealApi::remove(const ApiObject& object, Begun begun) {
  post({.object = object, .remove = true, .begun = std::move(begun)});
}

void RealApi::post(Write write) {
  Writer& writer = *writers_[std::hash<std::string>()(write.object.ns) % kWriters];
  {
    const std::lock_guard lock(mutex_);
    writer.queue.push_back(std::move(write));
    ++left_;
  }
  changed_.notify_all();
}

void RealApi::write_all(Writer& writer) {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return stopping_ || !writer.queue.empty(); });
    if (stopping_) return;
    const Write write = std::move(writer.queue.front());
    writer.queue.pop_front();
    lock.unlock();
    const auto begin = Clock::now();
    const absl::Status done = perform(writer, write);
    const std::chrono::duration<double, std::milli> took = Clock::now() - begin;
    lock.lock();
    milliseconds_.push_back(took.count());
    if (error_.ok()) error_ = done;
    if (--left_ == 0 || !done.ok()) changed_.notify_all();
  }
}

absl::Status RealApi::flush() {
  std::unique_lock lock(mutex_);
  while (left_ > 0 && error_.ok()) {
    const size_t before = left_;
    if (!changed_.wait_for(lock, kProgress, [this] { return left_ == 0 || !error_.ok(); }))
      std::fprintf(stderr, "  %zu writes left, %.0f a second\n", left_,
                   static_cast<double>(before - left_) / static_cast<double>(kProgress.count()));
  }
  return error_;
}

std::vector<double> RealApi::take_milliseconds() {
  const std::lock_guard lock(mutex_);
  return std::exchange(milliseconds_, {});
}

absl::StatusOr<std::string> RealApi::ask(cp::ApiClient& client, const std::string& method,
                                         const std::string& path, const std::string& body,
                                         const std::string& type) {
  for (int attempt = 1;; ++attempt) {
    cp::ApiAnswer answer = cp::call(client,
                                    {.path = path,
                                     .deadline = std::chrono::milliseconds(kDeadline),
                                     .method = method,
                                     .body = body,
                                     .content_type = type},
                                    kMaxAnswer);
    if (answer.ok()) return std::move(answer.body);
    // It was made by an attempt whose answer was lost.
    if (answer.end.status == 409 && method == "POST" && attempt > 1) return std::string();
    if (!is_passing(answer.end) || attempt == kAttempts)
      return absl::UnavailableError(str_cat(method, " ", path, ": ", answer.end.message));
    client.turn(kAgain);
  }
}

absl::Status RealApi::make(cp::ApiClient& client, const ApiObject& object, const Begun& begun) {
  RETURN_IF_ERROR(ask(client, "POST", collection_of(object), whole(object)).status());
  // It is there; its status follows.
  if (begun) begun();
  if (object.status.empty()) return absl::OkStatus();
  return ask(client, "PATCH", path_of(object) + "/status", str_cat("{\"status\":", object.status, "}"),
             kMergePatch)
      .status();
}

absl::Status RealApi::perform(Writer& writer, const Write& write) {
  if (!write.remove && !writer.known.contains(path_of(write.object))) {
    writer.known.insert(path_of(write.object));
    return make(*writer.client, write.object, write.begun);
  }
  RETURN_IF_ERROR(alter(writer, write));
  if (write.begun) write.begun();
  return absl::OkStatus();
}

absl::Status RealApi::alter(Writer& writer, const Write& write) {
  const ApiObject& object = write.object;
  cp::ApiClient& client = *writer.client;
  const std::string path = path_of(object);
  if (write.remove) {
    writer.known.erase(path);
    return ask(client, "DELETE", path, R"({"kind":"DeleteOptions","apiVersion":"v1","gracePeriodSeconds":0})")
        .status();
  }
  // As when its owner deletes it: a kubelet would end it now.
  if (object.ending)
    return ask(client, "DELETE", path,
               R"({"kind":"DeleteOptions","apiVersion":"v1","gracePeriodSeconds":30})")
        .status();
  if (!object.status.empty())
    return ask(client, "PATCH", path + "/status", str_cat("{\"status\":", object.status, "}"), kMergePatch)
        .status();
  return ask(client, "PUT", path, whole(object)).status();
}

absl::StatusOr<std::string> RealApi::token(uint32_t node) {
  const std::string in = str_cat("/api/v1/namespaces/", kNamespace);
  if (!has_account_) {
    RETURN_IF_ERROR(
        ask(*own_, "POST", "/api/v1/namespaces", str_cat("{\"metadata\":{\"name\":\"", kNamespace, "\"}}"))
            .status());
    RETURN_IF_ERROR(
        ask(*own_, "POST", in + "/serviceaccounts", R"({"metadata":{"name":"weft-agent"}})").status());
    has_account_ = true;
  }
  ASSIGN_OR_RETURN(
      const std::string made,
      ask(*own_, "POST", in + "/pods",
          str_cat("{\"metadata\":{\"name\":\"weft-agent-", node, "\"},\"spec\":{\"nodeName\":\"node-", node,
                  "\",\"serviceAccountName\":\"weft-agent\",\"containers\":[{\"name\":\"agent\",",
                  "\"image\":\"agent\"}]}}")));
  ASSIGN_OR_RETURN(const cp::YamlNode pod, cp::parse_json(made));
  ASSIGN_OR_RETURN(const std::string issued,
                   ask(*own_, "POST", in + "/serviceaccounts/weft-agent/token",
                       str_cat("{\"kind\":\"TokenRequest\",\"apiVersion\":\"authentication.k8s.io/"
                               "v1\",\"spec\":{\"audiences\":[",
                               "\"weft-control\"],\"expirationSeconds\":7200,\"boundObjectRef\":{\"kind\":"
                               "\"Pod\",\"apiVersion\":",
                               "\"v1\",\"name\":\"weft-agent-", node, "\",\"uid\":\"",
                               cp::json_text(pod, "metadata.uid"), "\"}}}")));
  ASSIGN_OR_RETURN(const cp::YamlNode token, cp::parse_json(issued));
  return std::string(cp::json_text(token, "status.token"));
}

}  // namespace weft::bench
