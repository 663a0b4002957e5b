# The kernel half of the agent: capture, enrolment, counters.
weft_library(weft_dataplane
  SOURCES dataplane/addresses.cc dataplane/alias_table.cc dataplane/capture_route.cc dataplane/captured_connections.cc dataplane/check.cc dataplane/close_connections.cc dataplane/cleanup.cc dataplane/destinations.cc dataplane/enroll.cc
    dataplane/exclusions.cc dataplane/failing_reports.cc dataplane/inbound.cc dataplane/inbound_audit.cc dataplane/drift.cc dataplane/kernel_dataplane.cc dataplane/listener.cc dataplane/map_dump.cc dataplane/measurements.cc
    dataplane/netns.cc dataplane/open_connections.cc dataplane/program_runs.cc dataplane/rivals.cc dataplane/row_pool.cc dataplane/rtnetlink.cc dataplane/service_audit.cc
    dataplane/service_table.cc dataplane/socket_record.cc dataplane/tcp_dump.cc
  DEPS weft_base weft_bpf_user absl::flat_hash_map absl::flat_hash_set absl::inlined_vector)
