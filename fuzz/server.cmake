lapidary_fuzz(fuzz_data_url SOURCE data_url.cpp USES server media base CORPUS ${CMAKE_CURRENT_SOURCE_DIR}/corpus/data_url)
lapidary_fuzz(fuzz_chat_requests SOURCE chat_requests.cpp USES server prompt engine chat base
  CORPUS ${CMAKE_CURRENT_SOURCE_DIR}/corpus/chat_requests)
lapidary_fuzz(fuzz_responses SOURCE responses.cpp USES server prompt engine base CORPUS ${CMAKE_CURRENT_SOURCE_DIR}/corpus/responses)
# Both read requests for the shipped model, as the tests of the server do.
foreach(name fuzz_chat_requests fuzz_responses)
  target_compile_definitions(${name} PRIVATE LAPIDARY_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests/server)
endforeach()
