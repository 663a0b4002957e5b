// See start_memory.h. What may go says /proc/self/smaps (proc_pid_smaps(5)), which part of it is code and
// constants the loader, which lets no library come or go while it tells (dl_iterate_phdr(3)).
#include "base/start_memory.h"

#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

namespace weft {
namespace {

struct Range {
  uintptr_t begin = 0, end = 0;
};

// "begin-end perms offset device inode path", of private mappings of files that are only read or executed.
bool parse_read_only_file(const std::string& line, Range* range) {
  unsigned long begin = 0, end = 0, inode = 0;
  char permissions[5] = "";
  if (std::sscanf(line.c_str(), "%lx-%lx %4s %*s %*s %lu", &begin, &end, permissions, &inode) != 4)
    return false;
  *range = {begin, end};
  return permissions[0] == 'r' && permissions[1] == '-' && permissions[3] == 'p' && inode != 0;
}

// Mappings whose pages are all the file's.
std::vector<Range> unchanged_mappings() {
  std::vector<Range> found;
  std::ifstream smaps("/proc/self/smaps");
  Range current;
  bool candidate = false;
  for (std::string line; std::getline(smaps, line);) {
    unsigned long changed_kib = 0;
    const bool is_field = line.find(':') < line.find(' ');
    if (!is_field) {
      candidate = parse_read_only_file(line, &current);
    } else if (candidate && std::sscanf(line.c_str(), "Anonymous: %lu", &changed_kib) == 1 &&
               changed_kib == 0) {
      found.push_back(current);
    }
  }
  return found;
}

int give_back_segments(dl_phdr_info* object, size_t, void* unchanged) {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = object->dlpi_phdr[i];
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) != 0) continue;
    const uintptr_t first = (object->dlpi_addr + segment.p_vaddr) & ~(page - 1);
    const uintptr_t last = object->dlpi_addr + segment.p_vaddr + segment.p_memsz;
    for (const Range& range : *static_cast<const std::vector<Range>*>(unchanged)) {
      const uintptr_t begin = std::max(range.begin, first), end = std::min(range.end, last);
      if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
    }
  }
  return 0;
}

}  // namespace

void give_back_start_memory() {
  ::malloc_trim(0);
  std::vector<Range> unchanged = unchanged_mappings();
  ::dl_iterate_phdr(give_back_segments, &unchanged);
}

}  // namespace weft
