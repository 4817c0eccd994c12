# One rank: sees every floor.
add_executable(lockstep-worker replay_text.cpp worker_device.cpp worker_main.cpp worker_failure.cpp worker_session.cpp
  worker_train.cpp worker_use.cpp)
target_link_libraries(lockstep-worker PRIVATE lockstep_flags lockstep::launcher lockstep::trainer
  lockstep_cli11 nlohmann_json::nlohmann_json)
# Names of functions for the stacks that SIGQUIT asks for.
set_target_properties(lockstep-worker PROPERTIES ENABLE_EXPORTS ON)
target_precompile_headers(lockstep-worker REUSE_FROM lockstep_trainer)
