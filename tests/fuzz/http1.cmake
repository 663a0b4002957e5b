# Fuzz target of the HTTP/1 codec (preset fuzz), with its kept corpus.
if(WEFT_FUZZ)
  add_executable(http1_fuzz ${CMAKE_CURRENT_LIST_DIR}/http1_fuzz.cc)
  target_link_options(http1_fuzz PRIVATE -fsanitize=fuzzer)
  target_link_libraries(http1_fuzz PRIVATE weft_proxy_http weft_warnings)
  add_test(NAME http1_fuzz_smoke
    COMMAND http1_fuzz -runs=200000 -max_len=4096 -seed=1 ${CMAKE_CURRENT_BINARY_DIR}/http1_found
      ${CMAKE_CURRENT_LIST_DIR}/corpus/http1)
  file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/http1_found)
  set_tests_properties(http1_fuzz_smoke PROPERTIES LABELS fuzz TIMEOUT 300)
endif()
