weft_binary(route_fuzz SOURCES route_fuzz.cc DEPS weft_proxy_http weft_proxy_config)
weft_fuzz_target(route RUNS 100000)
