// On the code and the constants of the test and its libraries.
#include "base/start_memory.h"

#include <gtest/gtest.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

namespace weft {
namespace {

// Among the program's constants; nothing else looks at it.
alignas(4096) const volatile char kConstants[1 << 20] = {1};

size_t page() { return static_cast<size_t>(::sysconf(_SC_PAGESIZE)); }

// A loaded segment, of the program or of a library.
struct Segment {
  uint32_t flags = 0;  // PF_R and so on
  char* begin = nullptr;
  size_t size = 0;
};

int add_segments(dl_phdr_info* object, size_t, void* out) {
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = object->dlpi_phdr[i];
    if (segment.p_type != PT_LOAD) continue;
    const uintptr_t begin = (object->dlpi_addr + segment.p_vaddr) & ~(page() - 1);
    const size_t size = object->dlpi_addr + segment.p_vaddr + segment.p_memsz - begin;
    static_cast<std::vector<Segment>*>(out)->push_back(
        {segment.p_flags, reinterpret_cast<char*>(begin), size});
  }
  return 0;
}

std::vector<Segment> segments() {
  std::vector<Segment> found;
  ::dl_iterate_phdr(add_segments, &found);
  return found;
}

Segment largest_segment(uint32_t flags) {
  Segment largest;
  for (const Segment& segment : segments())
    if (segment.flags == flags && segment.size > largest.size) largest = segment;
  return largest;
}

Segment segment_of(const char* address) {
  for (const Segment& segment : segments())
    if (address >= segment.begin && address < segment.begin + segment.size) return segment;
  return {};
}

void read_all(const Segment& segment) {
  for (size_t at = 0; at < segment.size; at += page()) {
    [[maybe_unused]] const char read = *const_cast<volatile char*>(segment.begin + at);
  }
}

// Resident memory of the mapping that begins there, in KiB.
unsigned long resident_kib(const void* begin) {
  std::ifstream smaps("/proc/self/smaps");
  bool found = false;
  for (std::string line; std::getline(smaps, line);) {
    unsigned long at = 0, end = 0, kib = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &at, &end) == 2)
      found = at == reinterpret_cast<uintptr_t>(begin);
    if (found && std::sscanf(line.c_str(), "Rss: %lu", &kib) == 1) return kib;
  }
  return 0;
}

TEST(StartMemoryTest, CodeAndConstantsThatNothingUsesLeaveTheProcess) {
  for (const uint32_t flags : {uint32_t{PF_R | PF_X}, uint32_t{PF_R}}) {
    const Segment segment = largest_segment(flags);
    ASSERT_GE(segment.size, sizeof(kConstants));
    read_all(segment);
    const unsigned long before = resident_kib(segment.begin);
    ASSERT_GE(before, segment.size / 1024 / 2);
    give_back_start_memory();
    EXPECT_LT(resident_kib(segment.begin), before * 3 / 4) << "of the segment with flags " << flags;
  }
}

// As a debugger and a uprobe do: the page is the process's own then, and the file does not have what is in
// it.
TEST(StartMemoryTest, AMappingThatWasChangedKeepsTheChange) {
  char* volatile known = const_cast<char*>(&kConstants[4096]);
  const char* const changed = known;
  const Segment constants = segment_of(changed);
  ASSERT_EQ(constants.flags, uint32_t{PF_R});
  // By way of the loader, as the compiler leaves out what is stored to a constant.
  volatile char* const stored = constants.begin + (changed - constants.begin);
  ASSERT_EQ(::mprotect(constants.begin, constants.size, PROT_READ | PROT_WRITE), 0);
  *stored = 2;
  ASSERT_EQ(::mprotect(constants.begin, constants.size, PROT_READ), 0);
  give_back_start_memory();
  EXPECT_EQ(kConstants[4096], 2);
}

TEST(StartMemoryTest, FreedHeapGoesBackToTheSystem) {
  const auto heap_kib = [] {
    std::ifstream status("/proc/self/status");
    unsigned long kib = 0;
    for (std::string line; std::getline(status, line);)
      if (std::sscanf(line.c_str(), "RssAnon: %lu", &kib) == 1) break;
    return kib;
  };
  constexpr size_t kBlocks = 4096, kBytes = 4000;
  std::vector<char*> blocks;
  for (size_t i = 0; i < kBlocks; ++i) {
    blocks.push_back(new char[kBytes]);
    std::memset(blocks.back(), 1, kBytes);
  }
  // The last one keeps the heap from shrinking by itself.
  for (size_t i = 0; i + 1 < kBlocks; ++i) delete[] blocks[i];
  const unsigned long before = heap_kib();
  give_back_start_memory();
  EXPECT_LT(heap_kib() + kBlocks * kBytes / 1024 / 2, before);
  delete[] blocks.back();
}

}  // namespace
}  // namespace weft
