// Keeps the objects of one kind as the API server has them: list, then watch, for ever. What the server may
// do instead of answering, and what follows, is the table in reflector.cc. Bound to one thread; never blocks.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "control-plane/kubernetes/api_client.h"
#include "control-plane/kubernetes/backoff.h"
#include "control-plane/kubernetes/json_splitter.h"
#include "control-plane/kubernetes/kind_objects.h"
#include "control-plane/kubernetes/source_report.h"

namespace weft::control_plane {

struct ReflectorTiming {
  std::chrono::milliseconds first_retry{500};
  std::chrono::milliseconds longest_retry{30'000};
  // A kind that the server does not know is looked for again.
  std::chrono::milliseconds first_look{1'000};
  std::chrono::milliseconds longest_look{30'000};
  // It is gone, and its objects with it, when the server has known nothing of it for so long.
  std::chrono::milliseconds gone_for_sure{60'000};
  // One kind among many for which a right may be missing for good (KubernetesKind::may_be_refused): after the
  // third refusal in a row (401, 403) the next attempt comes between this and one and a half times this
  // later.
  std::chrono::milliseconds refused_retry{300'000};
  // A page of a list, and a list that is streamed, take at most so long and are silent at most so long.
  std::chrono::seconds list_deadline{60};
  std::chrono::seconds list_silence{30};
  // The server ends a watch after one to two times this.
  std::chrono::seconds watch{300};
  // A watch that ended sooner without an event was no use: the next one waits. After one that lived so long
  // what failed before counts no more.
  std::chrono::milliseconds short_watch{1'000};
};

class Reflector final : public ApiReader {
 public:
  using Clock = std::chrono::steady_clock;
  // All outlive the reflector.
  Reflector(const KubernetesKind& kind, ApiClient& client, const ReflectorTiming& timing,
            std::minstd_rand& random);
  ~Reflector() override;

  // Begins what is due. Before each turn of the client.
  void tick(Clock::time_point now);
  // When tick() has something to do next.
  Clock::time_point due() const { return due_; }

  // All objects were seen once, or the server does not have the kind.
  bool synced() const { return synced_; }
  // That, or the server has said that we may not see them.
  bool answered() const {
    return synced_ || (trouble_ && (trouble_->status == 401 || trouble_->status == 403));
  }
  // Nothing is half read: what take() gives is one step.
  bool settled() const { return synced_ && state_ != State::kListing && state_ != State::kStreaming; }
  bool changed() const { return objects_.changed(); }
  bool may_lack_subsets() const { return objects_.may_lack_subsets(); }
  Store::Changes take() { return objects_.take(); }

  // Why the objects may be old; nullopt: they are not.
  struct Trouble {
    std::string message;
    long status = 0;
    Clock::time_point since;
  };
  const std::optional<Trouble>& trouble() const { return trouble_; }
  SourceReport::Kind counts() const;
  size_t objects() const { return objects_.size(); }
  // As KindObjects says it.
  bool ending(const std::string& place) const { return objects_.ending(place); }
  const KubernetesKind& kind() const { return kind_; }

  // ApiReader.
  void accepted() override;
  bool body(std::string_view bytes) override;
  void ended(const ApiEnd& end) override;

 private:
  enum class State : uint8_t {
    kWaiting,    // until due_
    kListing,    // a page
    kStreaming,  // a watch that begins with everything there is
    kWatching,
  };

  void begin();
  void begin_page();
  void begin_watch(bool with_list);
  void send(const std::string& path, State state, std::chrono::milliseconds deadline,
            std::chrono::seconds silence, JsonSplitter::Form form);

  void item(std::string_view text);
  void event(std::string_view text);
  void bookmark(const YamlNode& object);
  void error_event(const YamlNode& status);
  void not_read(const absl::Status& why);
  // Refused by name; when it has none, as not_read().
  void too_large(const ObjectIdentity& object, const absl::Status& why);
  void large_event(const ObjectIdentity& object, const absl::Status& why);

  void page_ended();
  void list_complete(std::string version);
  void watch_ended();
  bool watched_long() const;
  void useful();
  void gone();
  void not_found();
  void failed(const ApiEnd& end);
  void note_trouble(const ApiEnd& end);
  void wait(std::chrono::milliseconds delay);
  // From the next attempt on the kind is listed anew.
  void forget_version();

  const KubernetesKind& kind_;
  ApiClient& client_;
  const ReflectorTiming& timing_;
  std::minstd_rand& random_;
  // kind_.left_out below "object" of an event.
  std::vector<std::string> event_paths_;
  std::vector<std::string_view> left_out_of_events_;

  State state_ = State::kWaiting;
  Clock::time_point due_{};
  std::optional<ApiClient::Id> request_;
  std::unique_ptr<JsonSplitter> splitter_;
  // What ended the request, when it was something that its body said.
  std::optional<ApiEnd> verdict_;

  size_t version_ = 0;  // of kind_.versions
  size_t versions_not_found_ = 0;
  bool streams_lists_ = true;     // until the server refuses
  std::string resource_version_;  // "": list first
  std::string continue_;
  bool gone_before_ = false;  // 410, and nothing useful since
  uint32_t not_found_in_a_row_ = 0;
  uint32_t refused_in_a_row_ = 0;
  Clock::time_point not_found_since_;  // of the first of these
  bool heard_event_ = false;
  std::optional<Clock::time_point> watch_began_;  // nullopt: the server has not accepted it
  Clock::time_point stream_limit_;                // of a streamed list
  bool synced_ = false;
  bool list_again_ = false;  // something could not be read
  Backoff retry_, look_, relist_;
  std::optional<Trouble> trouble_;
  KindObjects objects_;
  SourceReport::Kind counts_;
};

}  // namespace weft::control_plane
