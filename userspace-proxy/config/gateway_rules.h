// The policies of gateways while a snapshot is made: names to what they say, once for all hosts that have the
// same. Of one build_snapshot().
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "userspace-proxy/config/resources.h"

namespace weft::proxy {

class GatewayRulesTable {
 public:
  explicit GatewayRulesTable(const Resources& resources) : resources_(resources) {}

  // Of gateways of that namespace. Null: no names. A policy that is not known denies, as it does for
  // workloads that name it.
  std::shared_ptr<const GatewayRules> of(const std::string& ns, const GatewayPolicyNames& names);

 private:
  std::shared_ptr<const GatewayRules> make(const std::string& ns, const GatewayPolicyNames& names) const;

  const Resources& resources_;
  std::map<std::pair<std::string, GatewayPolicyNames>, std::shared_ptr<const GatewayRules>> made_;
};

}  // namespace weft::proxy
