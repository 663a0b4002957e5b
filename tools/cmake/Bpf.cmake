# weft_bpf(NAME SOURCES a.bpf.c ...): every hook file compiled alone, linked by `bpftool gen object` (which refuses two
# definitions of a map that differ) into one object and one skeleton header, gen/bpf/NAME.skel.h.
function(weft_bpf name)
  cmake_parse_arguments(ARG "" "" "SOURCES" ${ARGN})
  set(dir ${CMAKE_BINARY_DIR}/gen/bpf)
  string(REGEX REPLACE "x86_64" "x86" arch ${CMAKE_SYSTEM_PROCESSOR})
  string(REGEX REPLACE "aarch64" "arm64" arch ${arch})
  set(objects)
  foreach(source ${ARG_SOURCES})
    get_filename_component(stem ${source} NAME_WE)
    set(object ${dir}/${stem}.bpf.o)
    add_custom_command(OUTPUT ${object}
      COMMAND ${CMAKE_COMMAND} -E make_directory ${dir}
      COMMAND ${WEFT_BPF_CLANG} -g -O2 -Wall -Werror -target bpf -mcpu=v3 -D__TARGET_ARCH_${arch}
        -I${CMAKE_SOURCE_DIR} -isystem /usr/include/${CMAKE_SYSTEM_PROCESSOR}-linux-gnu
        -MD -MF ${object}.d -MT ${object} -c ${CMAKE_CURRENT_SOURCE_DIR}/${source} -o ${object}
      DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${source} DEPFILE ${object}.d VERBATIM)
    list(APPEND objects ${object})
  endforeach()
  add_custom_command(OUTPUT ${dir}/${name}.skel.h
    COMMAND ${WEFT_BPFTOOL} gen object ${dir}/${name}.linked.o ${objects}
    COMMAND sh -c "${WEFT_BPFTOOL} gen skeleton ${dir}/${name}.linked.o name ${name} > ${dir}/${name}.skel.h"
    DEPENDS ${objects} VERBATIM)
  add_custom_target(${name}_skeleton DEPENDS ${dir}/${name}.skel.h)
  add_library(${name}_bpf INTERFACE)
  add_dependencies(${name}_bpf ${name}_skeleton)
  target_include_directories(${name}_bpf SYSTEM INTERFACE ${CMAKE_BINARY_DIR}/gen)
  target_link_libraries(${name}_bpf INTERFACE PkgConfig::LIBBPF)
endfunction()
