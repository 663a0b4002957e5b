weft_binary(http1_fuzz
  SOURCES http1_fuzz.cc ${CMAKE_SOURCE_DIR}/tests/unit/proxy-engine/framing_reader.cc DEPS weft_proxy_http)
weft_fuzz_target(http1 RUNS 200000)
