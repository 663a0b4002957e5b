# Fuzz target of the HTTP/2 session (preset fuzz), with its kept corpus.
if(WEFT_FUZZ)
  add_executable(http2_fuzz ${CMAKE_CURRENT_LIST_DIR}/http2_fuzz.cc)
  target_link_options(http2_fuzz PRIVATE -fsanitize=fuzzer)
  target_link_libraries(http2_fuzz PRIVATE weft_proxy_http weft_warnings)
  add_test(NAME http2_fuzz_smoke
    COMMAND http2_fuzz -runs=100000 -max_len=4096 -seed=1 ${CMAKE_CURRENT_BINARY_DIR}/http2_found
      ${CMAKE_CURRENT_LIST_DIR}/corpus/http2)
  file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/http2_found)
  set_tests_properties(http2_fuzz_smoke PROPERTIES LABELS fuzz TIMEOUT 300)
endif()
