# Run as a script by lockstep_build_id_header.
execute_process(COMMAND git -C ${SOURCE_DIR} rev-parse --short=12 HEAD
  OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  set(commit unknown)
endif()
execute_process(COMMAND git -C ${SOURCE_DIR} status --porcelain --untracked-files=no
  OUTPUT_VARIABLE changes ERROR_QUIET)
if(changes)
  set(commit "${commit}-dirty")
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT [[
#pragma once
// Written by the build.
namespace lockstep {
inline constexpr char kVersion[] = "@VERSION@";
inline constexpr char kBuildId[] = "@VERSION@+@commit@.@COMPILER@.@BUILD_TYPE@.torch-@TORCH_VERSION@";
}  // namespace lockstep
]] @ONLY)
