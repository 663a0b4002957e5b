weft_binary(jwt_fuzz SOURCES jwt_fuzz.cc DEPS weft_fetch_keys weft_jose weft_proxy_routing)
weft_fuzz_target(jwt RUNS 50000 MAX_LEN 8192)
