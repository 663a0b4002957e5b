// ConfigClient: what delta ADS brings becomes snapshots. Never touches a worker itself: that is what Publish
// is for.
#include "userspace-proxy/config/config_client.h"

#include <mutex>
#include <optional>
#include <vector>

#include "base/courtesy.h"
#include "userspace-proxy/config/snapshot_series.h"
#include "xds/delta_client.h"
#include "xds/stream_channel.h"

namespace weft::proxy {
namespace {

class SnapshotReceiver final : public ConfigClient, xds::Receiver {
 public:
  SnapshotReceiver(Options options, Publish publish)
      : options_(std::move(options)), publish_(std::move(publish)) {
    // Here: the system calls of the process are confined later.
    Courtesy::prepare();
    xds::DeltaClient::Options client{.target = options_.target};
    client.node.set_id(options_.node_id);
    for (const std::string_view type : {kAddressType, kSecretType, kRouteSetType, kDestinationPolicyType,
                                        kMeshConfigType, kAuthenticationType, kAuthorizationType})
      client.types.emplace_back(type);
    client.connect = [this] { return xds::stream_channel(options_.target, xds::kMaxMessageBytes); };
    client.backoff_min = options_.backoff_min;
    client.backoff_max = options_.backoff_max;
    client_ = xds::DeltaClient::start(std::move(client), *this);
  }

  std::map<std::string, std::string> rejected() const override {
    const std::lock_guard lock(mutex_);
    return rejected_;
  }

 private:
  std::map<std::string, std::string> held(const std::string& type) const override {
    return series_.store().versions(type);
  }

  absl::Status put(const std::string& type,
                   const envoy::service::discovery::v3::Resource& resource) override {
    if (!courtesy_) courtesy_.emplace();
    give_way();
    absl::Status status = series_.apply(type, resource);
    dirty_ = dirty_ || status.ok();
    return status;
  }

  void remove(const std::string& type, const std::string& name) override {
    series_.remove(type, name);
    dirty_ = true;
  }

  void settle(bool complete) override {
    build(complete);
    courtesy_.reset();
  }

  void build(bool complete) {
    {
      const std::lock_guard lock(mutex_);
      rejected_ = series_.store().rejected();
    }
    if (!complete || (!dirty_ && series_.last() != nullptr)) return;
    dirty_ = false;
    if (series_.last() != nullptr) retired_.push_back(series_.last());
    publish_(series_.next());
  }

  // Snapshots that no worker uses any more go here, because freeing ten thousand routes between two turns of
  // a worker would be felt by its requests.
  bool tidy() override {
    std::erase_if(retired_, [](const SnapshotPtr& snapshot) { return snapshot.use_count() == 1; });
    return !retired_.empty();
  }

  const Options options_;
  const Publish publish_;

  // Client thread only.
  std::optional<Courtesy> courtesy_;  // from the first resource of a burst to its snapshot
  SnapshotSeries series_{options_.path_normalisation};
  bool dirty_ = false;
  std::vector<SnapshotPtr> retired_;  // in use by exchanges that began with them

  mutable std::mutex mutex_;
  std::map<std::string, std::string> rejected_;
  // Last: its threads end while all that they use is there.
  std::unique_ptr<xds::DeltaClient> client_;
};

}  // namespace

std::unique_ptr<ConfigClient> ConfigClient::start(Options options, Publish publish) {
  return std::make_unique<SnapshotReceiver>(std::move(options), std::move(publish));
}

}  // namespace weft::proxy
