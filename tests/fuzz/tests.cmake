# The fuzz targets in the test suite, a few seconds each: `ctest -L fuzz`. They are a
# project of their own, because they need clang (see CMakeLists.txt beside this), and
# bring their own sanitizers: so once, with the plain build, is enough. Without clang's
# fuzzer there are none.
if(BUSD_SANITIZE)
  return()
endif()

find_program(BUSD_FUZZ_CLANG NAMES clang clang-14 DOC "The clang that fuzz targets are built with")
if(BUSD_FUZZ_CLANG)
  set(probe ${CMAKE_CURRENT_BINARY_DIR}/fuzz-probe)
  file(WRITE ${probe}.c "int LLVMFuzzerTestOneInput(const char *d, unsigned long n);\n"
    "int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return 0; }\n")
  execute_process(COMMAND ${BUSD_FUZZ_CLANG} -fsanitize=fuzzer,address,undefined ${probe}.c -o ${probe}
    RESULT_VARIABLE BUSD_FUZZ_UNFIT OUTPUT_QUIET ERROR_QUIET)
endif()
if(NOT BUSD_FUZZ_CLANG OR BUSD_FUZZ_UNFIT)
  message(STATUS "There is no clang with libFuzzer: the fuzz targets are left out")
  return()
endif()

include(ExternalProject)
set(fuzz_build ${PROJECT_BINARY_DIR}/fuzz)
ExternalProject_Add(fuzz
  SOURCE_DIR ${CMAKE_CURRENT_SOURCE_DIR}/fuzz
  BINARY_DIR ${fuzz_build}
  CMAKE_ARGS -DCMAKE_C_COMPILER=${BUSD_FUZZ_CLANG} -DBUSD_WERROR=${BUSD_WERROR}
  BUILD_ALWAYS ON
  INSTALL_COMMAND "")

file(GLOB fuzz_targets CONFIGURE_DEPENDS RELATIVE ${CMAKE_CURRENT_SOURCE_DIR}/fuzz fuzz/fuzz-*.c)
foreach(source ${fuzz_targets})
  get_filename_component(name ${source} NAME_WE)
  string(REPLACE "fuzz-" "" target ${name})
  add_test(NAME ${name} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/run
    --seconds 2 --build ${fuzz_build} --built ${target})
  register_test(${name} fuzz)
endforeach()
