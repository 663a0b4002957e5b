// A node's cgroups and /proc as files of a folder: pods, their processes and network namespaces are made and
// ended by a test, and inotify sees it as on a node. A namespace is a file; its inode is its identity.
#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "agent/pods/sandbox_watch.h"
#include "base/strings.h"
#include "tests/unit/base/scratch_folder.h"

namespace weft::agent {

inline constexpr char kUidA[] = "aaaaaaaa-1111-2222-3333-444444444444";
inline constexpr char kUidB[] = "bbbbbbbb-1111-2222-3333-444444444444";

class FakeNode {
 public:
  FakeNode() {
    for (const char* folder : {"proc", "cgroup", "run-netns", "namespaces"})
      std::filesystem::create_directories(folder_.file(folder));
    write("namespaces/host", "");
    add_proc(1, "/init.scope", "host", 1);
    std::filesystem::create_directory_symlink(folder_.file("proc/1"), folder_.file("proc/self"));
  }

  SandboxWatch::Options options() const {
    return {.cgroup_root = folder_.file("cgroup"),
            .places = {.proc = folder_.file("proc"),
                       .netns_folders = {folder_.file("run-netns")},
                       .probe = probe},
            .owner = ::geteuid()};
  }
  static absl::StatusOr<NetnsIdentity> probe(const std::string& path) {
    struct stat info{};
    if (path.empty() || ::stat(path.c_str(), &info) != 0) return absl::NotFoundError("no such file");
    return NetnsIdentity{info.st_dev, info.st_ino};
  }
  std::string cgroup(const std::string& path) const { return folder_.file("cgroup" + path); }
  std::string proc_netns(uint32_t pid) const { return str_cat(folder_.file("proc/"), pid, "/ns/net"); }

  // "/kubepods/burstable/podUID": empty, as the kubelet makes it.
  void add_group(const std::string& path) {
    std::filesystem::create_directories(cgroup(path));
    write("cgroup" + path + "/cgroup.procs", "");
    write("cgroup" + path + "/cgroup.events", "populated 0\n");
  }
  void remove_group(const std::string& path) { std::filesystem::remove_all(cgroup(path)); }
  // A file of the runtime for the namespace, which lasts until remove_netns_file().
  std::string add_netns_file(const std::string& netns, const std::string& file) {
    add_netns(netns);
    std::filesystem::create_hard_link(folder_.file("namespaces/" + netns), folder_.file("run-netns/" + file));
    return folder_.file("run-netns/" + file);
  }
  void remove_netns_file(const std::string& file) {
    std::filesystem::remove(folder_.file("run-netns/" + file));
  }
  // Starts a process in a container's cgroup below the pod's, in the namespace of that name.
  void start(uint32_t pid, const std::string& pod, const std::string& container, const std::string& netns,
             uint64_t ticks) {
    add_netns(netns);
    add_group(pod + "/" + container);
    add_proc(pid, pod + "/" + container, netns, ticks);
    processes_[pid] = {pod, container};
    refresh(pod, container);
  }
  // As when a container enters its sandbox.
  void enter(uint32_t pid, const std::string& netns) {
    add_netns(netns);
    std::filesystem::remove(proc_netns(pid));
    link_netns(pid, netns);
  }
  void end(uint32_t pid) {
    const auto [pod, container] = processes_.at(pid);
    processes_.erase(pid);
    std::filesystem::remove_all(str_cat(folder_.file("proc/"), pid));
    refresh(pod, container);
  }

 private:
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_.file(name)) << text;
  }
  void add_netns(const std::string& netns) {
    if (!std::filesystem::exists(folder_.file("namespaces/" + netns))) write("namespaces/" + netns, "");
  }
  void link_netns(uint32_t pid, const std::string& netns) const {
    std::filesystem::create_symlink(folder_.file("namespaces/" + netns), proc_netns(pid));
  }
  void add_proc(uint32_t pid, const std::string& group, const std::string& netns, uint64_t ticks) const {
    const std::string name = str_cat("proc/", pid);
    std::filesystem::create_directories(folder_.file(name + "/ns"));
    write(name + "/cgroup", "1:name=systemd:/elsewhere\n0::/.." + group + "\n");
    std::string fields;
    for (int number = 4; number < 22; ++number) str_append(&fields, " ", number);
    write(name + "/stat", str_cat(pid, " (an ) odd (name) S", fields, " ", ticks, " 23 24\n"));
    link_netns(pid, netns);
  }
  void refresh(const std::string& pod, const std::string& container) {
    std::string pids;
    bool populated = false;
    for (const auto& [pid, where] : processes_) {
      if (where.first != pod) continue;
      populated = true;
      if (where.second == container) str_append(&pids, pid, "\n");
    }
    write("cgroup" + pod + "/" + container + "/cgroup.procs", pids);
    // Last: that is the event.
    write("cgroup" + pod + "/cgroup.events", str_cat("populated ", populated ? 1 : 0, "\nfrozen 0\n"));
  }

  const test::ScratchFolder folder_;
  std::map<uint32_t, std::pair<std::string, std::string>> processes_;
};

}  // namespace weft::agent
