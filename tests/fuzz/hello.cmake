weft_binary(hello_fuzz SOURCES hello_fuzz.cc DEPS weft_proxy_http)
# A hello that is too long is one of the answers.
weft_fuzz_target(hello RUNS 200000 MAX_LEN 20000)
