# The kernel half of the agent: capture, enrolment, counters.
weft_library(weft_dataplane
  SOURCES dataplane/capture_route.cc dataplane/captured_connections.cc dataplane/check.cc dataplane/cleanup.cc dataplane/destinations.cc dataplane/enroll.cc
    dataplane/exclusions.cc dataplane/kernel_dataplane.cc dataplane/listener.cc dataplane/measurements.cc
    dataplane/netns.cc dataplane/program_runs.cc dataplane/rtnetlink.cc
  DEPS weft_base weft_bpf_user)
