# weft_link_statically(NAME): links the binary with archives where the distribution has them; see link_statically. Not with
# sanitizers, whose runtime must come first.
function(weft_link_statically name)
  if(NOT WEFT_SANITIZE AND NOT WEFT_FUZZ)
    set_target_properties(${name} PROPERTIES
      RULE_LAUNCH_LINK "${CMAKE_SOURCE_DIR}/tools/cmake/link_statically"
      LINK_DEPENDS "${CMAKE_SOURCE_DIR}/tools/cmake/link_statically")
  endif()
endfunction()
