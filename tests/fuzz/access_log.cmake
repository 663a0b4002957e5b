weft_binary(access_log_fuzz SOURCES access_log_fuzz.cc DEPS weft_proxy_config weft_proxy_http)
weft_fuzz_target(access_log RUNS 100000)
