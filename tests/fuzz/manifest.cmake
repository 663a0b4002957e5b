weft_binary(manifest_fuzz SOURCES manifest_fuzz.cc DEPS weft_control_plane)
target_link_options(manifest_fuzz PRIVATE -fsanitize=fuzzer)
add_test(NAME manifest_fuzz_smoke
  COMMAND manifest_fuzz -runs=5000 -max_len=4096 -timeout=10 -seed=1
    ${CMAKE_CURRENT_BINARY_DIR}/manifest-corpus ${CMAKE_CURRENT_SOURCE_DIR}/corpus/manifest)
file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/manifest-corpus)
set_tests_properties(manifest_fuzz_smoke PROPERTIES LABELS fuzz TIMEOUT 300)
