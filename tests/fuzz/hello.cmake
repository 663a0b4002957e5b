weft_binary(hello_fuzz SOURCES hello_fuzz.cc DEPS weft_proxy_http)
weft_fuzz_target(hello RUNS 200000)
