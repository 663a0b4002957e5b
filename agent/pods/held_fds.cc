// See held_fds.h.
#include "agent/pods/held_fds.h"

#include <unistd.h>

#include <utility>

namespace weft::agent {

std::vector<UniqueFd> duplicates(const std::vector<UniqueFd>& fds) {
  std::vector<UniqueFd> out;
  for (const UniqueFd& fd : fds) {
    UniqueFd copy(::dup(fd.get()));
    if (copy.valid()) out.push_back(std::move(copy));
  }
  return out;
}

std::shared_ptr<NamespaceFds> without_listeners(const NamespaceFds& fds) {
  auto out = std::make_shared<NamespaceFds>();
  if (fds.netns.valid()) out->netns.reset(::dup(fds.netns.get()));
  return out;
}

}  // namespace weft::agent
