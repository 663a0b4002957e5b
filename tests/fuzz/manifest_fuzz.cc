// libFuzzer target: any bytes as a manifest file, parsed, stored and compiled. Whatever the input, there is
// no crash, and the same text compiles to the same resources again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "control-plane/compile/compiler.h"
#include "control-plane/resource/store.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace weft::control_plane;
  const std::string text(reinterpret_cast<const char*>(data), size);
  Store store;
  Compiled first;
  for (int round = 0; round < 2; ++round) {
    Store::Changes changes;
    changes.emplace("fuzz.yaml", parse_file("fuzz.yaml", text));
    store.update(std::move(changes));
    Compiled compiled = compile(store.objects(), "node1");
    for (const Finding& finding : store.findings()) {
      if (finding.remedy.empty()) abort();
    }
    Change change;
    diff(first, compiled, change);
    if (round == 1 && !(change.upserted.empty() && change.removed.empty())) abort();
    first = std::move(compiled);
  }
  return 0;
}
