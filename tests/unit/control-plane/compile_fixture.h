// Compiles manifest text for tests and finds resources in the result. Used by the control-plane unit tests
// only.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "control-plane/compile/compiler.h"
#include "control-plane/resource/store.h"
#include "proto/istio/workload.pb.h"
#include "proto/weft/mesh/v1/mesh.pb.h"

namespace weft::control_plane {

inline Compiled compile_text(std::string_view text, const std::string& node = "node1") {
  Store store;
  Store::Changes changes;
  changes.emplace("f.yaml", parse_file("f.yaml", text));
  store.update(std::move(changes));
  for (const Finding& finding : store.findings()) {
    EXPECT_NE(finding.level, Finding::Level::kError) << to_string(finding);
  }
  return compile(store.objects(), node);
}

template <typename Message>
Message resource(const Compiled& compiled, const char* type, const std::string& name) {
  Message out;
  const auto found = compiled.resources.find({type, name});
  EXPECT_NE(found, compiled.resources.end()) << "no resource " << name;
  if (found != compiled.resources.end()) {
    EXPECT_TRUE(found->second.decode(&out));
  }
  return out;
}

inline istio::workload::Workload workload(const Compiled& compiled, const std::string& uid) {
  return resource<istio::workload::Address>(compiled, kAddressType, uid).workload();
}

inline istio::workload::Service service(const Compiled& compiled, const std::string& key) {
  return resource<istio::workload::Address>(compiled, kAddressType, key).service();
}

}  // namespace weft::control_plane
