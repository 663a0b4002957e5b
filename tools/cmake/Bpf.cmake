# weft_bpf(NAME SOURCES a.bpf.c ...): every hook file compiled alone, linked by `bpftool gen object` (which refuses two
# definitions of a map that differ) into one object and one skeleton header, gen/bpf/NAME.skel.h. weft_bpf_variant(NEW OF
# DEFINES X ...): the hook files of OF compiled with X into gen-NEW/bpf/OF.skel.h, which takes the place of the other.
function(weft_bpf name)
  cmake_parse_arguments(ARG "" "" "SOURCES" ${ARGN})
  list(TRANSFORM ARG_SOURCES PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/)
  weft_bpf_object(${name} ${name} ${CMAKE_BINARY_DIR}/gen "" ${ARG_SOURCES})
  set_target_properties(${name}_bpf PROPERTIES WEFT_BPF_SOURCES "${ARG_SOURCES}")
endfunction()

function(weft_bpf_variant name of)
  cmake_parse_arguments(ARG "" "" "DEFINES" ${ARGN})
  get_target_property(sources ${of}_bpf WEFT_BPF_SOURCES)
  list(TRANSFORM ARG_DEFINES PREPEND -D)
  weft_bpf_object(${name} ${of} ${CMAKE_BINARY_DIR}/gen-${name} "${ARG_DEFINES}" ${sources})
endfunction()

function(weft_bpf_object name skeleton gen flags)
  set(dir ${gen}/bpf)
  string(REGEX REPLACE "x86_64" "x86" arch ${CMAKE_SYSTEM_PROCESSOR})
  string(REGEX REPLACE "aarch64" "arm64" arch ${arch})
  set(objects)
  foreach(source ${ARGN})
    get_filename_component(stem ${source} NAME_WE)
    set(object ${dir}/${stem}.bpf.o)
    add_custom_command(OUTPUT ${object}
      COMMAND ${CMAKE_COMMAND} -E make_directory ${dir}
      COMMAND ${WEFT_BPF_CLANG} -g -O2 -Wall -Werror -target bpf -mcpu=v3 -D__TARGET_ARCH_${arch} ${flags}
        -I${CMAKE_SOURCE_DIR} -isystem /usr/include/${CMAKE_SYSTEM_PROCESSOR}-linux-gnu
        -MD -MF ${object}.d -MT ${object} -c ${source} -o ${object}
      DEPENDS ${source} DEPFILE ${object}.d VERBATIM)
    list(APPEND objects ${object})
  endforeach()
  add_custom_command(OUTPUT ${dir}/${skeleton}.skel.h
    COMMAND ${WEFT_BPFTOOL} gen object ${dir}/${skeleton}.linked.o ${objects}
    COMMAND sh -c "${WEFT_BPFTOOL} gen skeleton ${dir}/${skeleton}.linked.o name ${skeleton} > ${dir}/${skeleton}.skel.h"
    DEPENDS ${objects} VERBATIM)
  add_custom_target(${name}_skeleton DEPENDS ${dir}/${skeleton}.skel.h)
  add_dependencies(weft_generated ${name}_skeleton)
  add_library(${name}_bpf INTERFACE)
  add_dependencies(${name}_bpf ${name}_skeleton)
  target_include_directories(${name}_bpf SYSTEM INTERFACE ${gen})
  target_link_libraries(${name}_bpf INTERFACE PkgConfig::LIBBPF)
endfunction()
