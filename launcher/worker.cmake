# One rank: sees every floor.
add_executable(lockstep-worker worker_main.cpp worker_failure.cpp worker_session.cpp)
target_link_libraries(lockstep-worker PRIVATE lockstep_flags lockstep::launcher lockstep::trainer
  lockstep_cli11 nlohmann_json::nlohmann_json)
target_precompile_headers(lockstep-worker REUSE_FROM lockstep_trainer)
