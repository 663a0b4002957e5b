weft_binary(policy_fuzz SOURCES policy_fuzz.cc DEPS weft_proxy_routing)
weft_fuzz_target(policy RUNS 100000)
