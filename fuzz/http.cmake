foreach(parser content_coding multipart target stream)
  lapidary_fuzz(fuzz_http_${parser} SOURCE http_${parser}.cpp USES http base CORPUS ${CMAKE_CURRENT_SOURCE_DIR}/corpus/http_${parser})
endforeach()
