// HbonePool and HboneServer against each other, for tests of what passes between them. Included by those
// tests.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/strings.h"
#include "proto/istio/security.pb.h"
#include "tests/unit/proxy-engine/tunnel_rig.h"

namespace weft::proxy {

class HbonePairTest : public TunnelTest {
 protected:
  std::string read_all(Call& call, int* end) {
    std::string out;
    InputBuffer input(loop_->buffers());
    while ((*end = receive(call, input)) > 0) {
      out += input.unread();
      input.clear();
    }
    return out;
  }
  int count(const std::vector<std::unique_ptr<Call>>& calls, ConnectStatus status) {
    return static_cast<int>(std::ranges::count_if(
        calls, [status](const auto& c) { return c->step.done && c->status() == status; }));
  }
  bool all_over(const std::vector<std::unique_ptr<Call>>& calls) {
    return until([&] { return std::ranges::all_of(calls, [](const auto& c) { return c->step.done; }); });
  }
  // Each end has a certificate only with its own.
  void use_certificates(bool of_client, bool of_server = true) {
    auto set = std::make_shared<CredentialSet>();
    if (of_server) set->by_workload.emplace(kServerUid, credentials(kServerId));
    if (of_client) set->by_workload.emplace(kClientUid, credentials(kClientId));
    for (const auto& [uid, one] : set->by_workload) set->by_id.emplace(one->id, one);
    tls_.replace(std::move(set));
    hbone_->identities_changed();
    servers_->identities_changed();
  }
  static std::shared_ptr<const istio::security::Authorization> policy(istio::security::Action action,
                                                                      const char* account) {
    auto out = std::make_shared<istio::security::Authorization>();
    out->set_name("one");
    out->set_namespace_("shop");
    out->set_action(action);
    out->add_rules()->add_clauses()->add_matches()->add_principals()->set_exact(
        str_cat("cluster.local/ns/shop/sa/", account));
    return out;
  }
};

}  // namespace weft::proxy
